"""What synproxy aims at, and whether a run meets it. Pure.

Every target is a ratio within one run, so that it means the same on every machine; the one
duration is what a proxy adds to a request.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.lib.result import Results
from bench.lib.stats import Spread

OURS = "synproxy"


@dataclass(frozen=True, slots=True)
class Target:
    """``OURS`` in a row, compared with ``to`` (a proxy; itself when ``to_row`` is given)."""

    row: str
    limit: float
    to: str = ""
    to_row: str = ""
    of: str = "cost"
    at_least: bool = False

    def text(self) -> str:
        sign = "at least" if self.at_least else "at most"
        if self.to_row:
            what = "requests/s" if self.of == "rate" else "cost"
            return f"{sign} {self.limit:g} x the {what} of {self.to_row}"
        return f"{sign} {self.limit:g} x {self.to}" if self.to else f"{sign} {self.limit:g}"

    def figure(self, results: Results) -> Spread | None:
        """What was reached; None when it was not measured."""
        if self.to or self.to_row:
            to = self.to or OURS
            return results.ratio(self.row, OURS, to, to_row=self.to_row, of=self.of)
        return results.cost(self.row, OURS)

    def met(self, figure: Spread) -> bool:
        """By the median of the rounds."""
        return figure.median >= self.limit if self.at_least else figure.median <= self.limit


TARGETS = (
    Target("a", 1.5, "nginx"),
    Target("a", 0.25, "caddy"),
    Target("b", 0.5, "nginx"),
    Target("c", 1.7, "nginx"),
    Target("d down", 1.1, "nginx"),
    Target("d up", 1.1, "nginx"),
    Target("d down memory", 30),
    Target("d up memory", 30),
    Target("e sync", 1.05, to_row="a"),
    Target("e send", 1.05, to_row="c"),
    Target("f 5000 memory", 6),
    Target("f 5000 memory", 0.4, "nginx"),
    Target("f 5000 memory", 1.0, "haproxy"),
    Target("g kept", 2, "nginx"),
    Target("g full", 2, "nginx"),
    Target("i two", 1.8, to_row="i one", of="rate", at_least=True),
    Target("j p50", 0.15),
    Target("j synapse p50", 0.15),
)
