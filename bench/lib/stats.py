"""Medians, spreads, ratios and percentiles. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over several rounds."""

    median: float
    least: float
    greatest: float

    def text(self, digits: int) -> str:
        """``12.3 (12.1-12.9)``; the median alone when every round gave the same."""
        median = f"{self.median:.{digits}f}"
        if self.least == self.greatest:
            return median
        return f"{median} ({self.least:.{digits}f}-{self.greatest:.{digits}f})"


def spread(values: Iterable[float]) -> Spread:
    """Raises ValueError when there are none."""
    rounds = list(values)
    if not rounds:
        raise ValueError("no rounds")
    return Spread(statistics.median(rounds), min(rounds), max(rounds))


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that ``percent`` of all are not above (nearest rank).

    Raises ValueError when there are no values.
    """
    if not values:
        raise ValueError("no values")
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(rank, 1) - 1]


def digits(value: float) -> int:
    """How many decimals show three significant digits: 0 for 123, 1 for 12.3, 2 for 1.23."""
    if value == 0:
        return 0
    return min(max(2 - math.floor(math.log10(abs(value))), 0), 4)
