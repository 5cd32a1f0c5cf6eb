"""A bounded memory of results, for functions whose inputs repeat from request to request.

Two generations: new results enter the young one; when that is full it becomes the old one and the
old one is dropped. What is used survives, nothing is counted per entry, and a flood of new keys
costs no more than a miss each. This module must not know what is remembered.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memo(Generic[K, V]):
    """At most ``entries`` results. ``None`` cannot be remembered: it means "not there"."""

    __slots__ = ("_half", "_old", "_young", "get")

    def __init__(self, entries: int) -> None:
        if entries < 2:
            raise ValueError(f"a memo needs room for at least 2 entries, not {entries}")
        self._half = entries // 2
        self._old: dict[K, V] = {}
        self._young: dict[K, V] = {}
        self.get = self._young.get
        """The young generation only, without a Python call; ask ``recall`` when it has nothing."""

    def recall(self, key: K) -> V | None:
        """The remembered result, moved to the young generation if it was in the old one."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.store(key, found)
        return found

    def store(self, key: K, value: V) -> None:
        if len(self._young) >= self._half:
            self._old = self._young
            self._young = {}
            self.get = self._young.get
        self._young[key] = value

    def values(self) -> list[V]:
        """Every remembered result, one of them twice for a key that is in both generations."""
        return [*self._young.values(), *self._old.values()]

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
