"""What a soak must show, and its table."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.soak.ledger import Ledger
from tests.soak.resources import Holding
from tests.soak.run import Result

RSS_ROOM: Final = 24 * 1024
"""KiB that a child may hold more at the end than one held at the start: the allocator keeps what
megabytes of uploads in flight have needed at the worst moment."""
FDS_ROOM: Final = 2
_TABLE: Final = (
    "| round | requests | failed, explained | RSS, MiB | descriptors | tasks | timers |"
    " connections | idle |\n| --- | ---: | ---: | --- | --- | --- | --- | --- | --- |\n"
)


def complaints(result: Result, directory: Path) -> list[str]:
    """Everything that should not be so."""
    ledger, last = result.ledger, result.rounds[-1].holdings
    found = [f"mismatch: {text}" for text in ledger.mismatches]
    found += [f"unexplained: {text}" for text in ledger.unexplained]
    rss = max(one.rss for one in result.start)
    fds = max(one.fds for one in result.start)
    for one in last:
        if one.rss > rss + RSS_ROOM:
            found.append(f"child {one.pid} holds {one.rss} KiB, at the start {rss}")
        if one.fds > fds + FDS_ROOM:
            found.append(f"child {one.pid} has {one.fds} descriptors, at the start {fds}")
        start = result.start[0]
        if (one.tasks, one.timers) != (start.tasks, start.timers):
            found.append(f"child {one.pid} has {one.tasks} tasks and {one.timers} timers")
    output = (directory / "synproxy.out").read_text()
    if "Traceback" in output:
        found.append(output[output.index("Traceback") :][:2000])
    return found


def table(result: Result) -> str:
    """Round by round, in Markdown."""
    rows = ["| start |  |  | " + _held(result.start) + " |"]
    rows += [
        f"| {one.number} | {one.requests:,} | {one.failures} | {_held(one.holdings)} |"
        for one in result.rounds
    ]
    return _TABLE + "\n".join(rows) + "\n\n" + _books(result.ledger)


def _held(holdings: list[Holding]) -> str:
    names = ("rss", "fds", "tasks", "timers", "connections", "idle")
    cells = []
    for name in names:
        values = [getattr(one, name) for one in holdings]
        cells.append(" / ".join(f"{v / 1024:.1f}" if name == "rss" else str(v) for v in values))
    return " | ".join(cells)


def _books(ledger: Ledger) -> str:
    lines = ["| whole and right | answers |", "| --- | ---: |"]
    lines += [f"| {kind} | {count:,} |" for kind, count in sorted(ledger.answers.items())]
    lines += ["", "| failed | explained by | requests |", "| --- | --- | ---: |"]
    lines += [
        f"| {failure} | {fault} | {count} |"
        for (failure, fault), count in sorted(ledger.failures.items())
    ]
    lines += ["", "| fault | times |", "| --- | ---: |"]
    lines += [f"| {kind} | {count} |" for kind, count in sorted(ledger.done.items())]
    lines += [
        "",
        f"Given up by clients: {ledger.given_up.total():,}. Bytes compared by their hash: "
        f"{ledger.bytes_checked:,}. Mismatches: {len(ledger.mismatches)}. Failures that no fault "
        f"explains: {len(ledger.unexplained)}.",
    ]
    return "\n".join(lines) + "\n"
