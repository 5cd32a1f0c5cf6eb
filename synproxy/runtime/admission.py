"""Which new connections are taken: the limits of a child, in all and for each address.

Must not know sockets, or what is spoken on a connection.
"""

from __future__ import annotations

import heapq
import logging
from typing import TYPE_CHECKING, Final

from synproxy.core.client_address import networks
from synproxy.downstream.connections import Connections, source
from synproxy.proxy.answers import answer_for
from synproxy.runtime.logs import Hush

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from synproxy.config.model import Config

_QUIET: Final = 10.0
"""Seconds after a line in the log in which connections are only counted: anybody can make them."""

_ROOM: Final = 32
"""Idle connections closed at a time, but no more than an eighth of them (as nginx does)."""
_FRUITLESS: Final = 0.25
"""Seconds in which nobody looks again for idle connections after none was found."""
_GRACE: Final = 1.0
"""Seconds in which a client may begin its next request, or the first one, before it is idle."""

_COME_AGAIN: Final = 5.0
"""Seconds that a client is told to stay away."""

_log = logging.getLogger("synproxy")


class Admission:
    """The limits of one child. ``clock`` is the event loop's, in seconds."""

    def __init__(self, connections: Connections, clock: Callable[[], float]) -> None:
        self.connections = connections
        self.turned_away = 0
        """Connections closed since their address had too many."""
        self.made_room = 0
        """Idle connections closed since there were too many in all."""
        self._fruitless_until = 0.0
        self._clock = clock
        self._total = 0
        self._per_source = 0
        self._patience = 0.0, 0.0
        """Seconds that a connection may wait for its first request, and for the next one."""
        self._exempt = networks(())
        self._answer = b""
        self._full = False
        self._hush = Hush(_QUIET)

    def use(self, config: Config) -> None:
        """From now on these limits hold; who is connected stays."""
        limits = config.limits
        self._total = limits.connections
        if bool(limits.connections_per_address) != bool(self._per_source):
            self.connections.count_by_source(bool(limits.connections_per_address))
        self._per_source = limits.connections_per_address
        self._patience = config.http.client_header_timeout, config.http.keepalive_timeout
        trusted = config.http.trusted_proxies
        balancers = [one.proxy_protocol.networks for one in config.listeners if one.proxy_protocol]
        proxies = [*balancers, trusted.networks if trusted is not None else ()]
        self._exempt = networks((*limits.exempt, *(text for one in proxies for text in one)))
        self._answer, _ = answer_for(
            503, error="Too many connections from your address", retry_after=_COME_AGAIN
        ).render(server=b"Server: synproxy\r\n", minor=1, keep_alive=False, head_request=False)

    def full(self, starting: int) -> bool:
        """Whether no more are taken for now. ``starting``: accepted, and not yet counted."""
        full = 0 < self._total <= len(self.connections) + starting
        if full and not self._full:
            _log.warning(
                "%d connections, which is the limit: idle ones are closed, new ones wait",
                self._total,
            )
        self._full = full
        return full

    def make_room(self) -> bool:
        """Close those that have been idle for the longest time, as nginx does when its
        ``worker_connections`` are used up. False: there are none."""
        now = self._clock()
        if now < self._fruitless_until:
            return False
        idle = list(self._idle(now - _GRACE))
        if not idle:
            self._fruitless_until = now + _FRUITLESS
            return False
        count = max(min(_ROOM, len(idle) // 8), 1)
        for connection in heapq.nsmallest(count, idle, self._idle_since):
            self.made_room += 1
            connection.shut_down_idle()
        return True

    def _idle(self, since: float) -> Iterator[Any]:
        """Connections that have been for so long; in a handshake nobody is."""
        for one in self.connections:
            if getattr(one, "idle", False) and self._idle_since(one) <= since:
                yield one

    def _idle_since(self, connection: Any) -> float:
        deadline: float = connection.deadline
        return deadline - self._patience[connection.requests > 0]

    def farewell(self, peer: object, starting: Iterable[bytes]) -> bytes:
        """The answer to a client whose address has too many; nothing if it is welcome.
        ``starting``: the sources of what was accepted, and is not yet counted."""
        limit = self._per_source
        if not limit:
            return b""
        origin = source(peer)
        if (
            not origin
            or self.connections.of(origin) + sum(one == origin for one in starting) < limit
        ):
            return b""
        assert isinstance(peer, tuple)
        address: str = peer[0]
        if self._exempt.permits(address.encode()):
            return b""
        self._tell(address, limit)
        return self._answer

    def _tell(self, address: str, limit: int) -> None:
        self.turned_away += 1
        more = self._hush.more(self._clock())
        if more is not None:
            _log.warning(
                "turned a connection from %s away: more than %d at a time%s", address, limit, more
            )
