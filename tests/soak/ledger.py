"""What was sent, what went wrong, and whether a fault explains it."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

ALLOWED: Final = {
    "cut": ("worker killed", "cut by the worker", "child killed"),
    "502": ("worker killed", "cut by the worker"),
    "503": ("worker killed",),
    "504": ("silent worker",),
    "closed": ("child killed",),
}
"""Which faults explain which failure. A reload, an upgrade, and a socket that is replaced, explain
none."""

_MARGIN: Final = 1.0
"""Seconds by which a failure may be later than its cause."""


@dataclass
class Fault:
    """Something that was done, to whom, and from when to when (times of the loop)."""

    kind: str
    whom: str
    begun: float
    ended: float = float("inf")

    def explains(self, failure: str, pool: str, begun: float, ended: float) -> bool:
        return (
            self.kind in ALLOWED[failure]
            and self.whom in ("", pool)
            and self.begun <= ended
            and self.ended + _MARGIN >= begun
        )


@dataclass
class Ledger:
    """The books of one run."""

    answers: Counter[str] = field(default_factory=Counter)
    """Whole and right, by kind of request."""
    given_up: Counter[str] = field(default_factory=Counter)
    """Ended by the client itself."""
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By failure and the fault that explains it."""
    unexplained: list[str] = field(default_factory=list)
    mismatches: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    """Faults and reloads, by kind."""
    bytes_checked: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    """Requests that workers got, by id: to find those that came twice."""
    cut: set[str] = field(default_factory=set)
    """Ids of answers that a worker cut."""

    def begin(self, kind: str, whom: str = "") -> Fault:
        """Something bad begins."""
        fault = Fault(kind, whom, asyncio.get_running_loop().time())
        self.faults.append(fault)
        self.done[kind] += 1
        return fault

    def end(self, fault: Fault) -> None:
        """It is over."""
        fault.ended = asyncio.get_running_loop().time()

    def failed(self, failure: str, kind: str, request: str, pool: str, begun: float) -> None:
        """A request had no whole answer."""
        now = asyncio.get_running_loop().time()
        if request in self.cut and failure in ("cut", "502"):
            self.failures[failure, "cut by the worker"] += 1
            return
        for fault in reversed(self.faults):
            if fault.explains(failure, pool, begun, now):
                self.failures[failure, fault.kind] += 1
                return
        self.unexplained.append(f"{kind} {request} to {pool}: {failure} after {now - begun:.2f} s")

    def explained_by(self, kind: str, begun: float) -> bool:
        """Whether there was such a fault at some time since ``begun``, or shortly before."""
        return any(fault.kind == kind and fault.ended + _MARGIN >= begun for fault in self.faults)

    def twice(self, request: str, method: str) -> None:
        """A worker got a request."""
        self.seen[request] += 1
        if method == "POST" and self.seen[request] > 1:
            self.mismatches.append(f"POST {request} came twice")

    @property
    def total(self) -> int:
        return self.answers.total() + self.given_up.total() + self.failures.total()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
