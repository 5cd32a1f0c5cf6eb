"""How many connections each child has: numbers in memory that all children see.

A child that has more than its share leaves new connections to the others for a moment. Nothing
depends on the numbers being exact. Must not know what a connection is.
"""

from __future__ import annotations

import mmap
import os
from typing import Final, Self

SLOTS: Final = 511
"""Children at the same time, those that drain after a reload included."""
_SIZE: Final = (SLOTS + 1) * 8


class Shares:
    """The numbers, by slot from 1 to `SLOTS`. The supervisor makes them, children map them."""

    __slots__ = ("_counts", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        # The first number is that of the highest slot; the others are connections + 1.
        self._counts = memoryview(mmap.mmap(fd, _SIZE)).cast("q")

    @classmethod
    def create(cls) -> Self:
        """For the supervisor, which passes ``fd`` on."""
        fd = os.memfd_create("synproxy-shares")
        os.ftruncate(fd, _SIZE)
        return cls(fd)

    def set(self, slot: int, connections: int) -> None:
        """What a child says of itself."""
        self._counts[slot] = connections + 1

    def free(self, slot: int) -> None:
        """A child takes no connections any more, or has gone."""
        self._counts[slot] = 0

    def use(self, slots: int) -> None:
        """The highest slot in use; for the supervisor."""
        self._counts[0] = slots

    def above(self, connections: int) -> bool:
        """Whether a child with so many has at least one more than the mean."""
        counts = self._counts[1 : self._counts[0] + 1].tolist()
        children = len(counts) - counts.count(0)
        return connections * children >= sum(counts) and children > 1
