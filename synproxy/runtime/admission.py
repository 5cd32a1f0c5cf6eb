"""Which new connections are taken: the limits of a child, in all and for each address.

Must not know sockets, or what is spoken on a connection.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from synproxy.core.client_address import networks
from synproxy.downstream.connections import Connections, source
from synproxy.proxy.answers import answer_for
from synproxy.runtime.logs import Hush

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from synproxy.config.model import Config

_QUIET: Final = 10.0
"""Seconds after a line in the log in which connections are only counted: anybody can make them."""

_COME_AGAIN: Final = 5.0
"""Seconds that a client is told to stay away."""

_log = logging.getLogger("synproxy")


class Admission:
    """The limits of one child. ``clock`` is the event loop's, in seconds."""

    def __init__(self, connections: Connections, clock: Callable[[], float]) -> None:
        self.connections = connections
        self.turned_away = 0
        """Connections closed since their address had too many."""
        self._clock = clock
        self._total = 0
        self._per_source = 0
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
            _log.warning("%d connections, which is the limit: new ones wait", self._total)
        self._full = full
        return full

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
