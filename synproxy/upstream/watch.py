"""Watches servers: asks whether they are well, and looks whether they are back.

One watch for each address, however many pools and generations use it: a server is asked once, a
restart is polled for once whoever waits, and a reload forgets nothing. What the findings mean is
decided in ``core.health``.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Final

from synproxy import __version__
from synproxy.core.health import POLL, Health, Status
from synproxy.core.wheel import NEVER
from synproxy.errors import Failure, UpstreamError
from synproxy.upstream.fetch import Fetch, Fetched
from synproxy.wire.proxy_protocol import LOCAL_HEADER

if TYPE_CHECKING:
    from synproxy.config.model import HealthCheck
    from synproxy.core.wheel import TimerWheel
    from synproxy.upstream.connection import ServerConnection
    from synproxy.upstream.pool import Connecting, ServerPool

_log = logging.getLogger("synproxy.upstream")

_POLL_TIMEOUT: Final = 2.0
"""Seconds that a look without a request may take."""
_FIRST_CHECKS_WITHIN: Final = 1.0
"""Seconds after the start within which every server is asked for the first time."""
_NAMES: Final = {Status.UP: "up", Status.RESTARTING: "restarting", Status.DOWN: "down"}

_Key = tuple[str, "HealthCheck | None", float]


class Watch:
    """Of one server. It is its own timer, and waits for its own connections."""

    __slots__ = (
        "_address",
        "_check",
        "_closely",
        "_confirm",
        "_connecting",
        "_fetch",
        "_group",
        "_pools",
        "_request",
        "deadline",
        "health",
        "visit",
    )

    def __init__(self, group: Watches, key: _Key) -> None:
        self._address, self._check, hold = key
        self._group = group
        self.health = Health(self._check, hold, group.wheel.now)
        self._pools: list[tuple[ServerPool, int]] = []
        self._connecting: Connecting | None = None
        self._fetch: Fetch | None = None
        self._confirm = False
        self._closely = False
        self._request = _request(self._check.path, self._address) if self._check else b""
        self.deadline = NEVER
        self.visit = 0.0

    # --- from pools

    def tell(self, pool: ServerPool, index: int) -> None:
        """Tell a pool of every change from now on, and how things stand; harmless to repeat."""
        if (pool, index) in self._pools:
            return
        self._pools.append((pool, index))
        if pool.balancer.health(index) != self.health.status:
            pool.server_changed(index, self.health.status)
        if len(self._pools) == 1:
            self._schedule(first=True)

    def prune(self) -> None:
        """Forget pools that nobody uses any more; without any there is nothing to watch for."""
        self._pools = [entry for entry in self._pools if not entry[0].over]
        if not self._pools:
            self.rest()
            self._group.drop(self)

    def rest(self) -> None:
        """Look no more, unless something happens."""
        self._end_look()
        self._leave_wheel()

    def refused(self, reason: str) -> None:
        """A request found that nobody listens."""
        if self.health.refused(reason, self._now):
            self._changed()

    def look_soon(self) -> None:
        """A request was cut without an answer: see whether the server is still there."""
        if self.health.status == Status.UP and not self._confirm:
            self._end_look()
            self._confirm = True
            self._schedule()

    # --- the timer

    def expire(self, now: float) -> None:
        """Time to look; called by the wheel."""
        self.prune()
        if self._pools:
            self._look()

    def _schedule(self, *, first: bool = False) -> None:
        chance = random.random()  # noqa: S311 (spreads checks, protects nothing)
        pause = POLL if self._confirm else self.health.pause(chance)
        if pause is None or not self._pools or (self._group.draining and self.asks):
            self._leave_wheel()
            return
        if first and self.asks:
            pause = min(pause, chance * _FIRST_CHECKS_WITHIN)
        self._wake_at(self._now + pause, closely=pause <= POLL)

    def _wake_at(self, deadline: float, *, closely: bool) -> None:
        """Seconds matter while requests wait; otherwise the wheel's ticks will do."""
        wheel = self._group.wheel
        if closely != self._closely:
            self._leave_wheel()
        self.deadline = deadline
        if closely:
            self._closely = True
            wheel.watch_closely(self)
        else:
            wheel.hasten(self)

    def _leave_wheel(self) -> None:
        self.deadline = NEVER
        self._closely = False
        self._group.wheel.forget_closely(self)
        self._group.wheel.forget(self)

    # --- one look

    @property
    def asks(self) -> bool:
        """Whether the next look is a request: a check, and no search for a restarting server."""
        return self.health.asks and not self._confirm

    @property
    def _now(self) -> float:
        return self._group.wheel.now

    def _look(self) -> None:
        pool, index = self._pools[-1]
        check = self._check
        if check is not None and self.asks:
            request, timeout = self._request, check.timeout
            self._fetch = Fetch(pool, index, request, self._answered, timeout, fresh=True)
        else:
            self._connecting = pool.connect(index, self, timeout=_POLL_TIMEOUT, keepalive=False)

    def _end_look(self) -> None:
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        fetch, self._fetch = self._fetch, None
        if fetch is not None:
            fetch.give_up()

    def connected(self, connection: ServerConnection) -> None:
        """From the pool: the server takes connections."""
        self._connecting = None
        connection.pool.release(connection)  # whoever waits for the server can have it
        self._found(None)

    def proxy_header(self) -> bytes:
        """The connection is nobody's but ours."""
        return LOCAL_HEADER

    def connect_failed(self, error: UpstreamError) -> None:
        """From the pool: the server takes no connections."""
        self._connecting = None
        self._found(error)

    def _answered(self, fetched: Fetched) -> None:
        self._fetch = None
        error, status = fetched.error, fetched.status
        if error is None and not 200 <= status < 400:  # as HAProxy and nginx Plus have it
            error = UpstreamError(Failure.INVALID, f"answered {status}")
        self._found(error)

    # --- what was found

    def _found(self, error: UpstreamError | None) -> None:
        confirmed = self._confirm
        self._confirm = False
        now = self._now
        if error is None and confirmed:
            changed = False  # a connection says less than an answered check
        elif error is None:
            changed = self.health.passed(now)
        elif error.failure is Failure.EXHAUSTED:
            changed = False  # nobody has asked the server
        elif error.failure is Failure.REFUSED:
            changed = self.health.refused(error.reason, now)
        else:
            changed = self.health.failed(error.reason, now)
        if changed:
            self._changed()
            return
        self._schedule()
        if (error is None or confirmed) and self.health.status == Status.UP:
            for pool, index in list(self._pools):
                pool.server_answered(index)

    def _changed(self) -> None:
        self._end_look()
        self._confirm = False
        self._schedule()
        health = self.health
        level = logging.WARNING if health.status == Status.DOWN else logging.INFO
        names = ", ".join(dict.fromkeys(pool.name for pool, _ in self._pools))
        reason = f": {health.reason}" if health.reason else ""
        _log.log(
            level, "server %s of %s is %s%s", self._address, names, _NAMES[health.status], reason
        )
        for pool, index in list(self._pools):
            pool.server_changed(index, health.status)


class Watches:
    """The watches of one child process, kept over reloads."""

    __slots__ = ("_known", "draining", "wheel")

    def __init__(self, wheel: TimerWheel) -> None:
        self.wheel = wheel
        self.draining = False
        self._known: dict[_Key, Watch] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, pool: ServerPool, index: int) -> Watch:
        """The watch of a pool's server; pools that want the same of it share one."""
        settings = pool.settings
        key = settings.servers[index].address, settings.health_check, settings.restart_hold
        watch = self._known.get(key)
        if watch is None:
            watch = self._known[key] = Watch(self, key)
        return watch

    def drain(self) -> None:
        """The process ends: ask nobody any more. Restarts are still waited for."""
        self.draining = True
        for watch in self._known.values():
            if watch.asks:
                watch.rest()

    def drop(self, watch: Watch) -> None:
        """From a watch that has no pool any more."""
        self._known = {key: kept for key, kept in self._known.items() if kept is not watch}


def _request(path: str, address: str) -> bytes:
    host = "localhost" if address.startswith("unix:") else address
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: synproxy/{__version__} (health)\r\n"
        "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
    ).encode()
