"""What becomes of a connection that a listener has accepted: plain HTTP, or TLS first, or the PROXY
protocol before either.

A reload may change that while the socket stays the same. Must not know sockets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synproxy.config.certificates import CertificateError
from synproxy.downstream.connection import ClientConnection
from synproxy.downstream.http2 import Http2Connection
from synproxy.downstream.proxy_protocol import ProxyProtocolConnection
from synproxy.downstream.tls import TlsConnection
from synproxy.errors import ConfigError, Problem
from synproxy.runtime.balancers import ProxyProtocolEndpoint
from synproxy.runtime.tls import TlsEndpoint

if TYPE_CHECKING:
    import asyncio

    from synproxy.config.certificates import Pems
    from synproxy.config.model import Listener
    from synproxy.proxy.handler import ProxyHandler


class Accepting:
    """How one listener takes connections.

    :raises ConfigError: a certificate cannot be used.
    """

    def __init__(self, listener: Listener, handler: ProxyHandler, pems: Pems) -> None:
        self._listener = listener
        self._handler = handler.for_listener(listener)
        self.endpoint: TlsEndpoint | None = None
        if listener.tls is not None:
            try:
                plain = handler.for_plain_http()
                self.endpoint = TlsEndpoint(listener, self._handler, plain, pems)
            except CertificateError as error:
                # The supervisor has tried it, but not this OpenSSL: an upgrade is half done.
                raise ConfigError([Problem(error.file, 0, 0, error.reason)]) from None
        self._refused_before = 0
        self._balancers: ProxyProtocolEndpoint | None = None
        if listener.proxy_protocol is not None:
            self._balancers = ProxyProtocolEndpoint(listener, self._handler, self._inside)

    @property
    def refusals(self) -> int:
        """Connections closed for their PROXY protocol header, reloads notwithstanding."""
        return self._refused_before + (self._balancers.refusals if self._balancers else 0)

    def connection(self) -> asyncio.Protocol:
        """For a connection that was just accepted."""
        if self._balancers is not None:
            return ProxyProtocolConnection(self._balancers)
        return self._inside()

    def speaks_plain(self) -> bool:
        """Whether clients speak HTTP from the first byte."""
        return self.endpoint is None and self._balancers is None

    def _inside(self) -> asyncio.Protocol:
        if self.endpoint is not None:
            return TlsConnection(self.endpoint)
        if self._listener.http2:
            return Http2Connection(self._handler, or_http1=True)
        return ClientConnection(self._handler)

    def become(self, other: Accepting) -> None:
        """After a reload: take connections as the new configuration says. With the same settings
        for TLS the endpoint stays, and with it the tickets that clients hold."""
        if self.endpoint is not None and self._listener == other._listener:
            assert other.endpoint is not None
            self.endpoint.certificates = other.endpoint.certificates
            return
        self._refused_before = self.refusals
        self._listener, self._handler, self.endpoint, self._balancers = (
            other._listener,
            other._handler,
            other.endpoint,
            other._balancers,
        )
