"""One coarse timer wheel for all deadlines of a child process.

Setting a deadline is storing a number on the item. The wheel looks at each item when its slot
comes round and moves it on if its deadline has moved meanwhile, so a connection that is used
again and again costs nothing. Knows no clock: ``now`` is given.
"""

from __future__ import annotations

from typing import Final, Protocol

NEVER: Final = float("inf")


class Timed(Protocol):
    """Something with a deadline, in the wheel's seconds."""

    deadline: float
    visit: float
    """Deadlines from here on are found in time without :meth:`TimerWheel.hasten`; written by the
    wheel only."""

    def expire(self, now: float) -> None:
        """The deadline has passed. Sets a new one, or the item leaves the wheel."""


class TimerWheel:
    """``slots`` buckets of ``tick`` seconds; deadlines are met late by at most two ticks, never
    early. The few items that are watched closely are looked at whenever the wheel is advanced."""

    __slots__ = ("_close", "_due", "_index", "_slots", "_visit", "now", "tick")

    def __init__(self, now: float, tick: float = 0.25, slots: int = 256) -> None:
        self.now = now
        """The time of the last tick: coarse, but free to read."""
        self.tick = tick
        # Not sets: a dictionary takes half the memory for each of thousands of items.
        self._slots: list[dict[Timed, None]] = [{} for _ in range(slots)]
        self._close: dict[Timed, None] = {}
        self._due: dict[Timed, None] = {}
        """What the current tick has still to visit."""
        self._index = int(now / tick)
        self._visit = 0.0
        """The last one that was set, shared by all items to which the same applies."""

    def __len__(self) -> int:
        return sum(map(len, self._slots)) + len(self._close)

    def watch(self, item: Timed) -> None:
        """Start to look after an item."""
        ticks = len(self._slots) - 1
        if item.deadline < NEVER:
            ticks = min(ticks, max(1, int(item.deadline / self.tick) + 1 - self._index))
        visit = (self._index + ticks - 1) * self.tick
        if visit != self._visit:
            self._visit = visit
        item.visit = self._visit
        self._slot(item)[item] = None

    def hasten(self, item: Timed) -> None:
        """To be called when a deadline was set that is nearer than the item's next visit."""
        self._slot(item).pop(item, None)
        self.watch(item)

    def forget(self, item: Timed) -> None:
        """Stop to look after an item; harmless when it is not in the wheel."""
        self._slot(item).pop(item, None)
        self._due.pop(item, None)

    def watch_closely(self, item: Timed) -> None:
        """Look at an item, which is not in the wheel, at every advance instead."""
        self._close[item] = None

    def forget_closely(self, item: Timed) -> None:
        """The opposite of :meth:`watch_closely`; harmless when it was not called."""
        self._close.pop(item, None)

    @property
    def hurried(self) -> bool:
        """Whether items are watched closely, so that the wheel should be advanced more often."""
        return bool(self._close)

    def advance(self, now: float) -> None:
        """Visit every item whose slot has come; expired ones are told."""
        self.now = now
        index = int(now / self.tick)
        steps = min(index - self._index, len(self._slots))
        self._index = index
        for step in range(index - steps + 1, index + 1):
            slot = step % len(self._slots)
            if not self._slots[slot]:
                continue
            due, self._slots[slot] = self._slots[slot], {}
            self._due = due
            while due:  # an item that expires may make another leave
                item, _ = due.popitem()
                if item.deadline <= now:
                    # Back in first: what the item does on expiry may be to leave the wheel.
                    item.deadline = NEVER
                    self.watch(item)
                    item.expire(now)
                else:
                    self.watch(item)
        for item in list(self._close):
            if item.deadline <= now and item in self._close:
                item.deadline = NEVER
                item.expire(now)

    def _slot(self, item: Timed) -> dict[Timed, None]:
        return self._slots[(round(item.visit / self.tick) + 1) % len(self._slots)]
