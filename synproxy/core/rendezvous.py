"""Weighted rendezvous hashing: every server draws a number for a key, the highest wins.

    seed(server)   = xxh3_64(address as written, UTF-8)
    h(key, server) = xxh3_64(key, seed(server))                an integer below 2**64
    u              = ((h >> 12) + 1/2) / 2**52                 exact as a double, 0 < u < 1
    score          = weight / -ln(u)

Servers are ordered by descending score, equal scores by descending h, equal h by their place in
the pool. If all weights are equal, score rises with h, so the order is by descending h alone and
no float is computed. This module must not know which servers are alive.
Source: Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates" (1998); weights
after Schindelhauer and Schomaker, "Weighted Distributed Hash Tables" (2005).
"""

from __future__ import annotations

from collections.abc import Iterable
from math import log

from xxhash import xxh3_64_intdigest


class Draw:
    """The servers of a pool, ready to draw for keys."""

    __slots__ = ("_even", "_seeds", "_weights")

    def __init__(self, servers: Iterable[tuple[str, int]]) -> None:
        known = list(servers)
        self._seeds = [xxh3_64_intdigest(address.encode()) for address, _ in known]
        self._weights = [weight for _, weight in known]
        self._even = len(set(self._weights)) == 1

    def home(self, key: bytes) -> int:
        """The first choice for ``key``."""
        if not self._even:
            return self.offers(key)[0]
        drawn = [xxh3_64_intdigest(key, seed) for seed in self._seeds]
        return drawn.index(max(drawn))

    def offers(self, key: bytes) -> list[int]:
        """All servers, best first."""
        drawn = [xxh3_64_intdigest(key, seed) for seed in self._seeds]
        if self._even:
            return sorted(range(len(drawn)), key=lambda index: (-drawn[index], index))
        scores = [score(h, weight) for h, weight in zip(drawn, self._weights, strict=True)]
        return sorted(range(len(drawn)), key=lambda index: (-scores[index], -drawn[index], index))


def score(drawn: int, weight: int) -> float:
    """How high a draw counts for a server of this weight."""
    return weight / -log(((drawn >> 12) + 0.5) * 2.0**-52)
