"""The tables of the status page: pools and servers, routes, recent errors."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from synproxy.admin.amounts import NONE, ago, amount, duration, each_second, percent
from synproxy.admin.html import Html, el, join

SIGNS: Final = {
    "up": "●",
    "restarting": "◐",
    "down": "✕",
    "off": "○",
    "drained": "◌",
    "good": "●",
    "notice": "●",
    "warning": "▲",
    "critical": "✕",
}
"""State by shape as well as by colour."""


def sign(state: str) -> Html:
    return el("span", SIGNS[state], class_=f"sign {state}", aria_hidden="true")


# --- pools

_POOL_COLUMNS: Final = (
    ("State", "", ""),
    ("Requests/s", "n", "over the last seconds"),
    ("In flight", "n", "sent to the server, answer not finished"),
    ("Held syncs", "n", "of these, long polls that wait for news"),
    ("Median", "n", "of the last minute"),
    ("99 %", "n", "of the last minute"),
    ("Errors", "n", "failed attempts and answers from 500, in the last minute"),
    ("Share of requests", "share", "in the last minute; the mark is a fair share"),
    ("Share of keys", "share", "keys seen lately that are at home there; the mark is a fair share"),
)


def pools_table(shown: Mapping[str, Any]) -> Html:
    head = el(
        "thead",
        el(
            "tr",
            el("th", "Server", scope="col"),
            *(
                el("th", name, scope="col", class_=kind or None, title=title or None)
                for name, kind, title in _POOL_COLUMNS
            ),
        ),
    )
    table = el("table", head, *(_pool(pool) for pool in shown["pools"]), class_="pools")
    return _scrolling(table, aria_labelledby="pools")


def _pool(pool: Mapping[str, Any]) -> Html:
    waits = [
        f"{amount(pool[what])} {word}"
        for what, word in (("held", "wait for a restart"), ("queued", "wait for a place"))
        if pool[what]
    ]
    title = el(
        "tr",
        el(
            "th",
            pool["name"],
            el("small", " · ".join([pool["balance"], *waits])),
            scope="rowgroup",
            colspan="2",
        ),
        *_measures(pool),
        el("td"),
        el("td"),
        class_="pool",
    )
    return el("tbody", title, *(_server(pool, server) for server in pool["servers"]))


def _server(pool: Mapping[str, Any], server: Mapping[str, Any]) -> Html:
    state = el(
        "td",
        el("span", sign(server["state"]), server["state"], class_=f"state {server['state']}"),
        el("small", server["reason"]) if server["reason"] else None,
    )
    return el(
        "tr",
        el(
            "th",
            server["name"],
            el("small", "backup") if server["backup"] else None,
            scope="row",
            title=server["address"],
        ),
        state,
        *_measures(server),
        el("td", _bar(server["share"], server["fair"]), class_="share"),
        el(
            "td",
            _bar(server["key_share"], server["fair"]) if pool["sticky"] else None,
            class_="share",
        ),
        class_=server["state"],
    )


def _measures(of: Mapping[str, Any]) -> Iterator[Html]:
    yield from _numbers(
        each_second(of["rate"]),
        amount(of["busy"]),
        amount(of["polls"]),
        duration(of["p50"]),
        duration(of["p99"]),
    )
    yield _errors(of["errors"])


def _numbers(*values: str) -> Iterator[Html]:
    for value in values:
        yield el("td", value, class_="n" if value not in ("0", NONE) else "n none")


def _errors(count: float) -> Html:
    return el("td", amount(count), class_="n bad" if count else "n none")


def _scrolling(table: Html, **label: str) -> Html:
    """A table that may be wider than the screen, which the keyboard reaches, too."""
    return el("div", table, class_="scroll", tabindex="0", role="region", **label)


def _bar(share: float | None, fair: float) -> Html:
    """A share as a number and a bar with a mark at the fair one."""
    if share is None:
        return el("span", NONE, class_="none")
    return join(
        el("span", percent(share), class_="n"),
        el(
            "svg",
            el("rect", width="100", height="8", rx="2", class_="ground"),
            el("rect", width=f"{share * 100:.1f}", height="8", rx="2", class_="fill"),
            el("rect", x=f"{min(fair * 100, 99.2):.1f}", y="-2", width="1", height="12"),
            viewBox="0 -2 100 12",
            preserveAspectRatio="none",
            aria_hidden="true",
            class_="bar",
        ),
    )


# --- routes


def routes_table(shown: Mapping[str, Any]) -> Html:
    names = ("Requests/s", "In flight", "Median", "99 %", "4xx", "Errors")
    rows = [
        el(
            "tr",
            el("th", route["name"] or "(none)", scope="row"),
            el("td", el("code", route["location"], title=route["location"])),
            el("td", ", ".join(route["pools"]) or NONE),
            *_numbers(
                each_second(route["rate"]),
                amount(route["in_flight"]),
                duration(route["p50"]),
                duration(route["p99"]),
                amount(route["refused"]),
            ),
            _errors(route["errors"]),
        )
        for route in shown["routes"]
    ]
    head = el(
        "thead",
        el(
            "tr",
            *(el("th", name, scope="col") for name in ("Route", "Location", "Pools")),
            *(el("th", name, scope="col", class_="n") for name in names),
        ),
    )
    table = el("table", head, el("tbody", *rows), class_="routes")
    return _scrolling(table, aria_labelledby="routes")


# --- errors


def error_tables(shown: Mapping[str, Any]) -> Html:
    return join(
        *(
            _error_table(title, shown["errors"].get(fault, []), shown["time"])
            for fault, title in (("server", "Of servers"), ("client", "Of clients"))
        )
    )


def _error_table(title: str, errors: list[Mapping[str, Any]], now: float) -> Html:
    if not errors:
        return el("p", el("b", f"{title}: "), "none since the start.", class_="quiet")
    rows = [
        el(
            "tr",
            el(
                "td",
                el(
                    "time",
                    ago(now - error["time"]),
                    datetime=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(error["time"])),
                    title=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(error["time"])),
                ),
            ),
            el("td", f"{error['times']}\N{MULTIPLICATION SIGN}", class_="n"),
            el("td", el("span", error["reason"], class_="reason"), class_="nowrap"),
            el("td", error["status"] or NONE, class_="n"),
            el("td", el("code", f"{error.get('method', '')} {error.get('path', '')}".strip())),
            el("td", error.get("route", "")),
            el("td", _where(error)),
            el("td", error["detail"]),
        )
        for error in errors
    ]
    columns = (
        "Last",
        "Times",
        "Reason",
        "Status",
        "Request",
        "Route",
        "Pool and server",
        "What happened",
    )
    numbers = ("Times", "Status")
    heads = [
        el("th", name, scope="col", class_="n" if name in numbers else None) for name in columns
    ]
    table = el(
        "table",
        el("caption", title),
        el("thead", el("tr", *heads)),
        el("tbody", *rows),
        class_="errors",
    )
    return _scrolling(table, aria_label=f"Errors {title.lower()}")


def _where(error: Mapping[str, Any]) -> str:
    server = str(error.get("server", "")).rpartition("/")[2].removesuffix(".sock")
    return " · ".join(filter(None, (str(error.get("pool", "")), server)))
