"""The last minutes of what was counted: rates, quantiles and errors of a span, not since the start.

Pure: times are given, in seconds. Must not know where the sums come from.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from synproxy.observe.metrics import BOUNDS, SUM

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from synproxy.admin.totals import Cells, Labels

INTERVAL: Final = 10.0
"""Seconds between two samples that are kept."""
MINUTE: Final = 60.0
"""Seconds that quantiles and errors are about."""
TREND: Final = 60
"""Rates that are kept, one for each interval."""


class Tally(NamedTuple):
    """Requests of one kind, since the start or within a span."""

    good: float = 0
    """Answered below 400."""
    refused: float = 0
    """Answered from 400 to 499, or left by their clients."""
    bad: float = 0
    """Answered from 500 up, or not at all."""
    durations: tuple[float, ...] = (0.0,) * SUM
    """How many were in each bucket of `BOUNDS`, and above."""

    @property
    def requests(self) -> float:
        return self.good + self.refused + self.bad

    def quantile(self, share: float) -> float | None:
        """The duration in seconds that so large a part did not exceed, as Prometheus'
        ``histogram_quantile`` has it; None: there were no requests."""
        rank = share * sum(self.durations)
        if not rank:
            return None
        below, so_far = 0.0, 0.0
        for bound, count in zip(BOUNDS, self.durations, strict=False):
            if count and so_far + count >= rank:
                return below + (bound - below) * (rank - so_far) / count
            so_far += count
            below = bound
        return BOUNDS[-1]

    def plus(self, other: Tally) -> Tally:
        return self._with(other, 1)

    def minus(self, other: Tally) -> Tally:
        return self._with(other, -1)

    def _with(self, other: Tally, sign: int) -> Tally:
        return Tally(
            self.good + sign * other.good,
            self.refused + sign * other.refused,
            self.bad + sign * other.bad,
            tuple(a + sign * b for a, b in zip(self.durations, other.durations, strict=True)),
        )

    @classmethod
    def of(cls, code: str, cell: Iterable[float]) -> Tally:
        """From a cell of ``observe.metrics`` and the status code of its requests."""
        durations = tuple(cell)[:SUM]
        count = sum(durations)
        kind = code[:1]
        if kind == "5":
            return cls(bad=count, durations=durations)
        if kind in ("4", "0"):
            return cls(refused=count, durations=durations)
        return cls(good=count, durations=durations)


NOTHING: Final = Tally()


@dataclass(frozen=True)
class Sample:
    """What had been counted at one moment."""

    time: float = 0.0
    flows: Mapping[tuple[str, str], Tally] = field(default_factory=dict)
    """By route and pool ("": answered by synproxy itself)."""
    servers: Mapping[tuple[str, str], Tally] = field(default_factory=dict)
    """By pool and server: answers, and attempts that failed (``bad``)."""

    @classmethod
    def taken(
        cls, time: float, cells: Mapping[str, Cells], failures: Mapping[Labels, float]
    ) -> Sample:
        """From the sums of all children."""
        flows: dict[tuple[str, str], Tally] = {}
        servers: dict[tuple[str, str], Tally] = {}
        for (route, pool, server, _, code), cell in cells.get("totals", {}).items():
            tally = Tally.of(code, cell)
            _add(flows, (route, pool), tally)
            if server:
                _add(servers, (pool, server), tally)
        for (pool, server, code), cell in cells.get("late", {}).items():
            _add(servers, (pool, server), Tally.of(code, cell))
        for (pool, server, reason), count in failures.items():
            if reason != "stale":
                _add(servers, (pool, server), Tally(bad=count))
        return cls(time, flows, servers)

    @property
    def total(self) -> Tally:
        return total(self.flows.values())


def total(tallies: Iterable[Tally]) -> Tally:
    """Their sum."""
    found = NOTHING
    for tally in tallies:
        found = found.plus(tally)
    return found


def _add(tallies: dict[tuple[str, str], Tally], key: tuple[str, str], tally: Tally) -> None:
    known = tallies.get(key)
    tallies[key] = tally if known is None else known.plus(tally)


class Span:
    """What happened between two samples."""

    def __init__(self, before: Sample, after: Sample) -> None:
        self.seconds = after.time - before.time
        self.flows = _difference(before.flows, after.flows)
        self.servers = _difference(before.servers, after.servers)

    def per_second(self, count: float) -> float:
        return count / self.seconds if self.seconds > 0 else 0.0


def _difference(
    before: Mapping[tuple[str, str], Tally], after: Mapping[tuple[str, str], Tally]
) -> dict[tuple[str, str], Tally]:
    return {key: tally.minus(before.get(key, NOTHING)) for key, tally in after.items()}


class History:
    """Samples, the oldest of which is a minute old, and the trend of longer."""

    def __init__(self, first: Sample) -> None:
        self._samples: deque[Sample] = deque([first], maxlen=int(MINUTE / INTERVAL) + 1)
        self.latest = first
        self.trend: deque[tuple[float, float]] = deque(maxlen=TREND)
        """Requests and bad ones a second, for each interval."""

    def add(self, sample: Sample) -> None:
        """The latest; kept if an interval has passed."""
        self.latest = sample
        kept = self._samples[-1]
        if sample.time - kept.time >= INTERVAL * 0.99:
            before, after = kept.total, sample.total
            seconds = sample.time - kept.time
            self.trend.append(
                (
                    (after.requests - before.requests) / seconds,
                    (after.bad - before.bad) / seconds,
                )
            )
            self._samples.append(sample)

    def span(self, seconds: float) -> Span:
        """The last ``seconds`` or a little more, as far as samples go back."""
        latest = self.latest
        before = self._samples[0]
        for sample in self._samples:
            if latest.time - sample.time < seconds * 0.99:
                break
            before = sample
        return Span(before, latest)
