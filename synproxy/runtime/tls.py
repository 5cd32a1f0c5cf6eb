"""The certificates of one listener in a child: chosen by name, exchanged, and counted.

A connection begins with one context that lives as long as the listener's settings, so that its
session tickets outlive a new certificate; its hello then picks the context of the certificate. Must
not know what is spoken inside, but for its name in ALPN, nor read files: a child may not be allowed
to read keys (docs/adr/0022).
"""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING, Any, Final

from synproxy.config.certificates import Pair, Pems, add_pair, load_pair, server_context
from synproxy.downstream.connection import ClientConnection
from synproxy.downstream.http2 import Http2Connection

if TYPE_CHECKING:
    import asyncio

    from synproxy.config.model import Listener
    from synproxy.core.wheel import TimerWheel
    from synproxy.downstream.connections import Connections
    from synproxy.downstream.tls import TlsConnection
    from synproxy.proxy.handler import ProxyHandler

_log = logging.getLogger("synproxy.tls")

_REASONS: Final = 32
"""Different reasons of failed handshakes that are counted apart; clients choose among OpenSSL's."""


class TlsEndpoint:
    """One listener with TLS; implements what its connections ask (``downstream.tls.Endpoint``).

    :raises CertificateError: a certificate cannot be used.
    """

    def __init__(
        self, listener: Listener, handler: ProxyHandler, plain: ProxyHandler, pems: Pems
    ) -> None:
        assert listener.tls is not None
        self.listener = listener
        self.handler = handler
        self._plain = plain
        self._tls = listener.tls
        self.wheel: TimerWheel = handler.wheel
        self.connections: Connections = handler.connections
        self.handshakes = 0
        self.resumed = 0
        self.failures: dict[str, int] = {}
        self.certificates = Certificates(listener, pems)
        """May be replaced at any time."""
        self._front = server_context(self._tls)
        # A context without any certificate has no ciphers to offer, whatever the hello picks.
        load_pair(self._front, self._tls.certificates[0], pems)
        self._front.set_alpn_protocols(self.certificates.protocols)
        self._front.sni_callback = self._choose

    # --- what connections ask

    @property
    def handshake_timeout(self) -> float:
        """As in nginx, which gives the handshake ``client_header_timeout``."""
        return self.handler.settings.client_header_timeout

    def begin(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        return self._front.wrap_bio(incoming, outgoing, server_side=True)

    def _choose(self, tls: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        if name is not None:
            tls.asked_name = name  # type: ignore[attr-defined]
        tls.context = self.certificates.context_for(name)

    def established(self, connection: TlsConnection) -> asyncio.Protocol:
        self.handshakes += 1
        if connection.tls.session_reused:
            self.resumed += 1
        if connection.tls.selected_alpn_protocol() == "h2":
            return Http2Connection(self.handler)
        return ClientConnection(self.handler)

    def failed(self, connection: TlsConnection, reason: str) -> None:
        failures = self.failures
        if reason in failures or len(failures) < _REASONS:
            failures[reason] = failures.get(reason, 0) + 1
        else:
            failures["other"] = failures.get("other", 0) + 1
        if _log.isEnabledFor(logging.DEBUG):
            peer = connection.transport.get_extra_info("peername")
            client = peer[0] if isinstance(peer, tuple) else "unix:"
            _log.debug("TLS handshake with %s failed: %s", client, reason)

    def plain(self) -> asyncio.Protocol:
        return ClientConnection(self._plain)

    def snapshot(self) -> dict[str, Any]:
        """Numbers for metrics; ``handshakes``, ``resumed`` and ``handshake_failures`` can be
        summed over processes, ``certificates`` are the same in all."""
        return {
            "listener": self.listener.listen,
            "handshakes": self.handshakes,
            "resumed": self.resumed,
            "handshake_failures": dict(self.failures),
            "certificates": [
                {
                    "certificate": pair.files.certificate,
                    "names": sorted(pair.names),
                    "not_after": pair.not_after,
                }
                for pair in self.certificates.pairs
            ],
        }


class Certificates:
    """A listener's contexts, by the names in its certificates.

    :raises CertificateError: one cannot be used.
    """

    def __init__(self, listener: Listener, pems: Pems) -> None:
        tls = listener.tls
        assert tls is not None
        self.protocols = ["h2", "http/1.1"] if listener.http2 else ["http/1.1"]
        self.pairs: list[Pair] = []
        self._exact: dict[str, ssl.SSLContext] = {}
        self._wildcards: dict[str, ssl.SSLContext] = {}
        contexts: dict[frozenset[str], ssl.SSLContext] = {}
        for files in tls.certificates:
            context = server_context(tls)
            pair = load_pair(context, files, pems)
            self.pairs.append(pair)
            known = contexts.setdefault(pair.names, context)
            if known is not context:
                # The same names again: RSA beside ECDSA, of which OpenSSL takes what a client can.
                add_pair(known, files, pems)
        for names, context in contexts.items():
            context.set_alpn_protocols(self.protocols)
            for name in names:
                if name.startswith("*."):
                    self._wildcards.setdefault(name[2:], context)
                else:
                    self._exact.setdefault(name, context)
        self._default = contexts[self.pairs[0].names]

    def context_for(self, name: str | None) -> ssl.SSLContext:
        """By the name in a hello: exact, then with a wildcard for its first label, then the
        first certificate."""
        if name is None:
            return self._default
        name = name.lower()
        return self._exact.get(name) or self._wildcards.get(name.partition(".")[2]) or self._default
