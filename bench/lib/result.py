"""What a run of the benchmarks found: samples, and how they are kept in a file. Pure.

Knows nothing of proxies or workloads; a row of the table is a string.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from bench.lib.stats import Spread, spread

NOT_YET = "not yet"


@dataclass(frozen=True, slots=True)
class Sample:
    """One proxy in one round of one row. What was not measured is None."""

    row: str
    proxy: str
    cost: float | None
    """What the row is about, in its unit: microseconds of CPU per request, kB per sync..."""
    user: float | None = None
    """The part of ``cost`` that the programs themselves used; the rest is the kernel's."""
    rate: float | None = None
    """Requests per second."""
    p50: float | None = None
    """Latency, milliseconds."""
    p99: float | None = None
    memory: float | None = None
    """PSS of all processes of the proxy at the end, bytes."""
    foreign: float | None = None
    """The share of the proxy's core that other programs took, 0 to 1."""
    checked: int = 0
    """Answers compared byte by byte."""
    problems: tuple[str, ...] = ()
    """What went wrong; any of them makes the sample worthless."""
    absent: str = ""
    """Why there is no figure: the proxy cannot do this, or cannot do it yet."""

    @property
    def valid(self) -> bool:
        return self.cost is not None and not self.problems


@dataclass(frozen=True, slots=True)
class Row:
    """What one line for each proxy is about."""

    key: str
    """``a``, ``d upload``: the workload's letter, and a word when it has several rows."""
    title: str
    unit: str
    relative: bool = True
    """Whether a ratio to another proxy means anything; not where the figure is near nothing."""


@dataclass(slots=True)
class Results:
    """A whole run; ``rounds`` holds the samples of each round."""

    facts: list[str]
    """The machine, the versions, the settings."""
    rows: list[Row] = field(default_factory=list)
    rounds: list[list[Sample]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def proxies(self) -> list[str]:
        """In the order in which they ran."""
        return list(dict.fromkeys(one.proxy for samples in self.rounds for one in samples))

    def samples(self, row: str, proxy: str) -> list[Sample]:
        """One of each round."""
        every = (one for samples in self.rounds for one in samples)
        return [one for one in every if (one.row, one.proxy) == (row, proxy)]

    def cost(self, row: str, proxy: str) -> Spread | None:
        """None when a round is missing or invalid: a median of the rest would flatter."""
        samples = self.samples(row, proxy)
        costs = [one.cost for one in samples if one.cost is not None and one.valid]
        return spread(costs) if samples and len(costs) == len(samples) else None

    def ratio(
        self, row: str, proxy: str, to: str, *, to_row: str = "", of: str = "cost"
    ) -> Spread | None:
        """``proxy``'s figure (``cost`` or ``rate``) over that of ``to``, within each round.

        None when either has no valid figure in some round.
        """
        pairs = list(
            zip(self.samples(row, proxy), self.samples(to_row or row, to), strict=False),
        )
        if not pairs or len(pairs) != len(self.samples(row, proxy)):
            return None
        ratios = []
        for one, other in pairs:
            above, below = getattr(one, of), getattr(other, of)
            if not (one.valid and other.valid and above is not None and below and below > 0):
                return None
            ratios.append(above / below)
        return spread(ratios)

    def problems(self) -> list[str]:
        """Every one once, with its row and proxy."""
        found = [
            f"{one.row}, {one.proxy}: {problem}"
            for samples in self.rounds
            for one in samples
            for problem in one.problems
        ]
        return list(dict.fromkeys(found))

    def dumps(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


def loads(text: str) -> Results:
    """The inverse of ``Results.dumps``."""
    raw = json.loads(text)
    return Results(
        raw["facts"],
        [Row(**row) for row in raw["rows"]],
        [[_sample(one) for one in samples] for samples in raw["rounds"]],
        raw["notes"],
    )


def _sample(raw: dict[str, object]) -> Sample:
    problems = raw.pop("problems")
    assert isinstance(problems, Sequence)
    return Sample(**raw, problems=tuple(problems))  # type: ignore[arg-type]
