"""The state of everything on a terminal: one line of health, then pools and servers.

Must not know where the overview comes from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from synproxy.admin.amounts import amount, duration, each_second, percent, span
from synproxy.core.printable import printable

_COLOURS: Final = {
    "good": "green",
    "notice": "green",
    "warning": "yellow",
    "critical": "red",
    "up": "green",
    "restarting": "yellow",
    "down": "red",
    "drained": "cyan",
    "off": "bright_black",
}
_SIGNS: Final = {"good": "*", "notice": "*", "warning": "!", "critical": "x"}
_WORDS: Final = {
    "good": "everything is up",
    "notice": "everything is up",
    "warning": "needs a look",
    "critical": "something is broken",
}
_BARS: Final = " \N{LOWER ONE EIGHTH BLOCK}\N{LOWER ONE QUARTER BLOCK}\N{LOWER THREE EIGHTHS BLOCK}\
\N{LOWER HALF BLOCK}\N{LOWER FIVE EIGHTHS BLOCK}\N{LOWER THREE QUARTERS BLOCK}\
\N{LOWER SEVEN EIGHTHS BLOCK}\N{FULL BLOCK}"


def board(shown: Mapping[str, Any], *, trend: bool = False) -> Group:
    """All of it. ``trend``: with a small chart of the requests of the last minutes."""
    return Group(*_head(shown, trend), Text(), _servers(shown))


def _head(shown: Mapping[str, Any], trend: bool) -> Iterator[Text]:
    traffic, level = shown["traffic"], shown["level"]
    yield Text.assemble(
        (f"{_SIGNS[level]} {_WORDS[level]}", f"bold {_COLOURS[level]}"),
        printable(f"  synproxy {shown['version']} on {shown['host']}"),
        f", up {span(shown['time'] - shown['started'])}",
        f", {len(shown['children'])} of {shown['wanted']} children",
    )
    for note in shown["notes"]:
        level = note["level"]
        yield Text(f"{_SIGNS[level]} {printable(note['text'])}", _COLOURS[level])
    waiting = sum(pool["held"] + pool["queued"] for pool in shown["pools"])
    yield Text(
        f"{each_second(traffic['rate'])} requests/s, {amount(shown['in_flight'])} in flight "
        f"({amount(shown['polls'])} held syncs), {amount(waiting)} waiting, "
        f"{amount(sum(shown['connections'].values()))} connections, "
        f"median {_plain(traffic['p50'])}, 99 % {_plain(traffic['p99'])}, "
        f"{amount(traffic['errors'])} failed in the last minute"
    )
    if trend and traffic["trend"]:
        most = max(rate for rate, _ in traffic["trend"]) or 1.0
        bars = "".join(_BARS[round(8 * rate / most)] for rate, _ in traffic["trend"])
        yield Text(bars, "bright_black")


def _servers(shown: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bright_black", padding=(0, 2, 0, 0))
    table.add_column("pool and server", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for name in ("req/s", "in flight", "held", "median", "99 %", "errors", "share", "keys"):
        table.add_column(name, justify="right", no_wrap=True)
    for pool in shown["pools"]:
        table.add_row(Text(printable(pool["name"]), "bold"), "", *_measures(pool))
        for server in pool["servers"]:
            state = server["state"]
            table.add_row(
                Text(f"  {printable(server['name'])}"),
                Text(state, _COLOURS[state]),
                *_measures(server),
                *(
                    "" if share is None else _space(percent(share))
                    for share in (server["share"], server["key_share"])
                ),
            )
    return table


def _measures(of: Mapping[str, Any]) -> Iterator[Text]:
    for value in (
        each_second(of["rate"]),
        amount(of["busy"]),
        amount(of["polls"]),
        _plain(of["p50"]),
        _plain(of["p99"]),
    ):
        yield Text(value, "bright_black" if value in ("0", "-") else "")
    errors = of["errors"]
    yield Text(amount(errors), "red" if errors else "bright_black")


def _plain(seconds: float | None) -> str:
    return "-" if seconds is None else _space(duration(seconds))


def _space(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")
