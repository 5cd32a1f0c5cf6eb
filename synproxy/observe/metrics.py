"""What a child counts: plain numbers, added to when a request ends and when its way turns.

A usual request costs a look-up and two or three numbers on lists, which are added up for many
requests at once. Everything that is a state (connections, requests in flight, servers) is not
counted here but looked at when somebody asks: ``observe.snapshot``. Nothing that a client makes up
becomes a key: methods are known ones or "other", status codes registered ones or a class such as
"5xx". Must not know who reads, nor how it is written.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from synproxy.core.redact import redact
from synproxy.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from synproxy.downstream.connection import ClientConnection
    from synproxy.downstream.http2_stream import Http2Stream
    from synproxy.errors import DownstreamError, UpstreamError
    from synproxy.proxy.generation import CompiledRoute
    from synproxy.proxy.request import Request
    from synproxy.upstream.pool import ServerPool

    Kind = tuple[CompiledRoute | None, ServerPool | None, int, bytes, int]
    """Route, pool, index of the server, method, status."""
    Append = Callable[[float], None]

BOUNDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 35.0, 60.0),
)
"""Upper bounds of the duration buckets, in seconds; what takes longer has one of its own. A sync
is held for 30 s as a rule, so 35 tells those that nothing happened in from those that hang."""

SUM: Final = len(BOUNDS) + 1
"""Where in a cell the sum of the durations stands, after the buckets."""
SENT: Final = SUM + 1
"""Bytes of bodies that clients got."""
RECEIVED: Final = SUM + 2
"""Bytes of bodies that clients sent."""
_CELL: Final = SUM + 3

ERRORS: Final = 100
"""How many of the latest errors are kept, of those that are the servers' and of those that are the
clients'."""

_METHODS: Final = {
    method.encode(): method
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
}
_CODES: Final = {status.value: str(status.value) for status in HTTPStatus} | {499: "499", 0: "0"}
_SERVERS_FAULT: Final = ("upstream_error", "upstream_timeout", "overload")

Cell = list[float]
"""Requests by duration, then the sums."""
Cells = dict[tuple[str, ...], Cell]


class Waiting(NamedTuple):
    """Numbers of requests of one kind that are still to be added to its cell. Three lists, and no
    objects for the garbage collector to look through."""

    durations: list[float]
    sent: list[float]
    received: list[float]

    def settle(self, cell: Cell) -> None:
        """Sorted, durations are counted by one search for each bound."""
        durations = self.durations
        cell[SUM] += sum(durations)
        cell[SENT] += sum(self.sent)
        cell[RECEIVED] += sum(self.received)
        durations.sort()
        below = 0
        for place, bound in enumerate(BOUNDS):
            up_to = bisect_right(durations, bound)
            cell[place] += up_to - below
            below = up_to
        cell[len(BOUNDS)] += len(durations) - below
        for numbers in self:
            numbers.clear()


class Metrics:
    """The counters of one child process, kept over reloads."""

    __slots__ = (
        "_appends",
        "_time",
        "_usual",
        "_waiting",
        "ends",
        "errors",
        "events",
        "failures",
        "late",
        "refusals",
        "reuses",
        "started",
        "totals",
    )

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock``: the loop's, in which requests have their times."""
        self._time = clock
        self.started = time.time()
        self._appends: dict[Kind, tuple[Append, Append, Append]] = {}
        """Where the numbers of usual requests go, those that were answered below 500 at the first
        attempt."""
        self._usual = self._appends.get
        self._waiting: list[tuple[Cell, Waiting]] = []
        self.totals: Cells = {}
        """By route, pool, server, method and code. Without a server: no server answered, or not
        at the first attempt."""
        self.late: Cells = {}
        """By pool, server and code: how long the last attempt took, where that is not all."""
        self.ends: dict[tuple[str, str], int] = {}
        """Requests that ended otherwise than well, by route and reason."""
        self.events: dict[tuple[str, str, str], int] = {}
        """By event, pool, and what else the event is about."""
        self.failures: dict[tuple[str, str, str], int] = {}
        """Attempts by pool, server and :class:`Failure`."""
        self.refusals: dict[str, int] = {}
        """Heads that were not accepted, by the status of the answer."""
        self.reuses: dict[tuple[str, ...], int] = {}
        """Requests by pool and server on connections that had carried another; looked at when
        somebody asks, as the pools and their connections tell it. Never falls, for a connection
        that ends after a reload is no longer seen."""
        self.errors: dict[str, deque[dict[str, Any]]] = {
            "server": deque(maxlen=ERRORS),
            "client": deque(maxlen=ERRORS),
        }
        """The latest ones, by whose fault they are. Without query, tokens masked."""

    # --- from the data path (proxy.handler.Metrics)

    def answered(self, request: Request, method: bytes, started: float) -> None:
        """See :class:`synproxy.proxy.handler.Metrics`."""
        appends = self._usual((request.route, request.pool, request.index, method, request.status))
        if appends is None:
            appends = self._appends_of(request, method)
            if appends is None:
                self.ended(request, method, "ok", started, 0.0)
                return
        duration, sent, received = appends
        duration(self._time() - started)
        sent(request.bytes_sent)
        if request.bytes_received:
            received(request.bytes_received)

    def _appends_of(self, request: Request, method: bytes) -> tuple[Append, Append, Append] | None:
        """Begin to count usual requests of this kind; None: it is not a usual one."""
        route, pool, index, status = request.route, request.pool, request.index, request.status
        if pool is None or status >= 500 or status not in _CODES or method not in _METHODS:
            return None
        name = route.name if route is not None else ""
        server = pool.settings.servers[index].address
        cell = _of(self.totals, (name, pool.name, server, _METHODS[method], _CODES[status]))
        waiting = Waiting([], [], [])
        self._waiting.append((cell, waiting))
        appends = waiting.durations.append, waiting.sent.append, waiting.received.append
        self._appends[route, pool, index, method, status] = appends
        return appends

    def ended(
        self, request: Request, method: bytes, reason: str, started: float, attempt: float
    ) -> None:
        """See :class:`synproxy.proxy.handler.Metrics`."""
        now = self._time()
        cell = self._cell(request, method, reason, attempt and now - attempt)
        _add_duration(cell, now - started)
        cell[SENT] += request.bytes_sent
        cell[RECEIVED] += request.bytes_received

    def _cell(self, request: Request, method: bytes, reason: str, attempt: float) -> Cell:
        """Where to count a request. ``attempt``: the seconds of its last attempt, if there were
        others; otherwise 0."""
        pool = request.pool
        route = request.route.name if request.route is not None else ""
        server = ""
        code = code_label(request.status)
        if reason != "ok":
            _add(self.ends, (route, reason))
        elif pool is not None:
            server = pool.settings.servers[request.index].address
            if attempt:
                _add_duration(_of(self.late, (pool.name, server, code)), attempt)
                server = ""
        if reason in _SERVERS_FAULT or request.status >= 500:
            self._keep("server", request, reason)
        elif reason in ("client_error", "client_timeout"):
            self._keep("client", request, reason)
        return _of(
            self.totals,
            (route, pool.name if pool is not None else "", server, method_label(method), code),
        )

    def refused(self, client: ClientConnection | Http2Stream, error: DownstreamError) -> None:
        """A head was not accepted."""
        _add(self.refusals, str(error.status))
        self.errors["client"].append(
            {"time": time.time(), "status": error.status, "reason": "client_error"}
            | {"detail": error.reason, "client": client.peer[0].decode("ascii", "replace")}
        )

    def failed(self, request: Request, error: UpstreamError) -> None:
        """An attempt failed."""
        pool = request.pool
        if pool is None:
            return
        server = pool.settings.servers[request.index].address
        _add(self.failures, (pool.name, server, error.failure.value))
        if error.failure is not Failure.STALE:
            self._keep("server", request, error.failure.value, error.reason)

    def note(self, event: str, pool: str, detail: str) -> None:
        """A turn in a request's way."""
        _add(self.events, (event, pool, detail))

    def _keep(self, fault: str, request: Request, reason: str, detail: str = "") -> None:
        pool, route = request.pool, request.route
        known = pool is not None and request.index >= 0
        self.errors[fault].append(
            {
                "time": time.time(),
                "status": request.status,
                "reason": reason,
                "detail": detail,
                "method": method_label(request.method),
                "path": redact(request.target.partition(b"?")[0].decode("ascii", "replace"))[:200],
                "route": route.name if route is not None else "",
                "pool": pool.name if pool is not None else "",
                "server": pool.settings.servers[request.index].address if known and pool else "",
            }
        )

    # --- for who reads

    def settle(self) -> None:
        """Add up the numbers of usual requests. To be called some times a second, since they need
        room, and before ``totals`` is read."""
        for cell, waiting in self._waiting:
            if waiting.durations:
                waiting.settle(cell)

    def fold(self) -> None:
        """The same, and let go of the pools of generations that may be over."""
        self.settle()
        self._appends.clear()
        self._waiting.clear()


def method_label(method: bytes) -> str:
    """A method that HTTP and Matrix know, or "other"."""
    return _METHODS.get(method, "other")


def code_label(status: int) -> str:
    """A registered status code, 499, 0 for none, or its class."""
    return _CODES.get(status) or f"{status // 100}xx"


def _add_duration(cell: Cell, seconds: float) -> None:
    cell[bisect_left(BOUNDS, seconds)] += 1
    cell[SUM] += seconds


def _of(cells: Any, key: Hashable) -> Cell:
    cell: Cell | None = cells.get(key)
    if cell is None:
        cell = cells[key] = [0.0] * _CELL
    return cell


def _add(counts: Any, key: Hashable) -> None:
    counts[key] = counts.get(key, 0) + 1
