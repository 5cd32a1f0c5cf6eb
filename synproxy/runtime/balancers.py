"""The PROXY protocol of one listener: whom it takes headers from, and what the log says of others.

Must not know what is spoken behind the header.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from synproxy.core.client_address import networks
from synproxy.runtime.logs import Hush

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from synproxy.config.model import Listener
    from synproxy.core.wheel import TimerWheel
    from synproxy.downstream.connections import Connections
    from synproxy.proxy.handler import ProxyHandler

_log = logging.getLogger("synproxy.proxy_protocol")

_QUIET: Final = 1.0
"""Seconds after a line in the log in which refused connections are only counted: whoever can reach
the port can make them."""


class ProxyProtocolEndpoint:
    """Implements what its connections ask (``downstream.proxy_protocol.Endpoint``)."""

    def __init__(
        self, listener: Listener, handler: ProxyHandler, inside: Callable[[], asyncio.Protocol]
    ) -> None:
        assert listener.proxy_protocol is not None
        self.wheel: TimerWheel = handler.wheel
        self.connections: Connections = handler.connections
        self.inside = inside
        self.refusals = 0
        self._listen = listener.listen
        self._handler = handler
        self._trusted = networks(listener.proxy_protocol.networks)
        self._hush = Hush(_QUIET)

    @property
    def header_timeout(self) -> float:
        """As in nginx, which gives the header ``client_header_timeout``."""
        return self._handler.settings.client_header_timeout

    def trusts(self, address: bytes) -> bool:
        return self._trusted.permits(address)

    def refused(self, peer: str, reason: str) -> None:
        self.refusals += 1
        more = self._hush.more(self.wheel.now)
        if more is not None:
            _log.warning("%s: refused a connection from %s: %s%s", self._listen, peer, reason, more)
