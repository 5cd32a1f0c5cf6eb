"""Whether a server may be used: what its checks and refused connections add up to.

A server is up until something speaks against it. A refused socket says at once that its process is
not there. If the pool holds requests (``restart_hold``) it then counts as restarting, within a
window in which requests wait for it, and only afterwards as down. Failed checks count as HAProxy's
``rise`` and ``fall``. A request that is slow, or that fails in another way, says nothing here;
nginx's ``max_fails`` is for that. Pure: ``now`` and chance are given, in seconds and from 0 to 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from synproxy.config.model import HealthCheck

POLL: Final = 0.05
"""Seconds between two looks at the socket of a restarting server."""
POLL_DOWN: Final = 1.0
"""Seconds between two looks at the socket of a server that was refusing for longer."""
SPREAD: Final = 0.1
"""Checks come at their interval, give or take this part of it, so that they do not all come at
once (HAProxy ``spread-checks``)."""


class Status:
    """Plain numbers, for the balancer looks at them on every request that is not at home."""

    UP: Final = 0
    RESTARTING: Final = 1
    DOWN: Final = 2


class Health:
    """The books of one server. Methods that note something return whether the status changed."""

    __slots__ = (
        "_check",
        "_hold",
        "_refusing",
        "_streak",
        "held_until",
        "reason",
        "since",
        "status",
    )

    def __init__(self, check: HealthCheck | None, restart_hold: float, now: float) -> None:
        self._check = check
        self._hold = restart_hold
        self._refusing = False
        self._streak = 0
        self.status = Status.UP
        self.since = now
        """When the status last changed."""
        self.reason = ""
        """What took it out; empty while it is up."""
        self.held_until = 0.0
        """The end of the window of a restarting server."""

    def refused(self, reason: str, now: float) -> bool:
        """A connection was refused, or its socket does not exist."""
        self._refusing = True
        self._streak = 0
        if self.status == Status.UP:
            if self._hold:
                self.held_until = now + self._hold
                return self._turn(Status.RESTARTING, reason, now)
            return self._turn(Status.DOWN, reason, now)
        if self.status == Status.RESTARTING and now >= self.held_until:
            return self._turn(Status.DOWN, reason, now)
        return False

    def passed(self, now: float) -> bool:
        """A check was answered well; without checks: a connection was made."""
        if self.status == Status.UP:
            self._streak = 0
            return False
        if self.status == Status.DOWN and self._check is not None:
            self._refusing = False
            self._streak += 1
            if self._streak < self._check.rise:
                return False
        return self._turn(Status.UP, "", now)

    def failed(self, reason: str, now: float) -> bool:
        """A check was answered badly or too late, or its connection failed."""
        if self.status == Status.UP:
            self._streak += 1
            if self._check is not None and self._streak >= self._check.fall:
                return self._turn(Status.DOWN, reason, now)
        elif self.status == Status.RESTARTING:
            if now >= self.held_until:
                return self._turn(Status.DOWN, reason, now)
        else:
            self._refusing = False
            self._streak = 0
        return False

    def pause(self, chance: float) -> float | None:
        """Seconds until the next look at the server; None: nothing calls for one."""
        if self.status == Status.RESTARTING:
            return POLL
        check = self._check
        if check is None:
            return POLL_DOWN if self.status == Status.DOWN else None
        coming_back = self.status == Status.DOWN and (self._refusing or self._streak)
        interval = min(check.interval, POLL_DOWN) if coming_back else check.interval
        return interval * (1.0 + SPREAD * (2.0 * chance - 1.0))

    @property
    def asks(self) -> bool:
        """Whether the next look is a request, and not just a connection."""
        return self._check is not None and self.status != Status.RESTARTING

    def _turn(self, status: int, reason: str, now: float) -> bool:
        self.status = status
        self.reason = reason
        self.since = now
        self._streak = 0
        if status == Status.UP:
            self._refusing = False
        return True
