"""The certificates of one listener: chosen by name, looked at again, and counted.

A connection begins with one context that lives as long as the listener's settings, so that its
session tickets outlive a new certificate; its hello then picks the context of the certificate. Must
not know what is spoken inside, but for its name in ALPN.
"""

from __future__ import annotations

import logging
import os
import ssl
import time
from typing import TYPE_CHECKING, Any, Final

from synproxy.config.certificates import CertificateError, Pair, load_pair, server_context
from synproxy.core.wheel import NEVER
from synproxy.downstream.connection import ClientConnection

if TYPE_CHECKING:
    import asyncio

    from synproxy.config.model import Listener, Tls
    from synproxy.core.wheel import TimerWheel
    from synproxy.downstream.tls import TlsConnection
    from synproxy.proxy.handler import ProxyHandler

_log = logging.getLogger("synproxy.tls")

_LOOK: Final = 10.0
"""Seconds between two looks at the files."""
_DAY: Final = 86_400
WARN_DAYS: Final = 14
"""certbot renews 30 days before the end; at 14 something is wrong with it."""

_REASONS: Final = 32
"""Different reasons of failed handshakes that are counted apart; clients choose among OpenSSL's."""


class TlsEndpoint:
    """One listener with TLS; implements what its connections ask (``downstream.tls.Endpoint``).

    :raises CertificateError: a certificate cannot be used.
    """

    def __init__(self, listener: Listener, handler: ProxyHandler, plain: ProxyHandler) -> None:
        assert listener.tls is not None
        self.listener = listener
        self.handler = handler
        self._plain = plain
        self._tls = listener.tls
        self.wheel: TimerWheel = handler.wheel
        self.connections: set[Any] = handler.connections
        self.deadline = NEVER
        self.visit = 0.0
        self.handshakes = 0
        self.resumed = 0
        self.failures: dict[str, int] = {}
        self._files = _signature(self._tls)
        self._certificates = Certificates(self._tls)
        self._warned = 0.0
        self._front = server_context(self._tls)
        # A context without any certificate has no ciphers to offer, whatever the hello picks.
        load_pair(self._front, self._tls.certificates[0])
        self._front.set_alpn_protocols(self._certificates.protocols)
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
        tls.context = self._certificates.context_for(name)

    def established(self, connection: TlsConnection) -> asyncio.Protocol:
        self.handshakes += 1
        if connection.tls.session_reused:
            self.resumed += 1
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

    # --- the files

    def watch(self) -> None:
        """Look at the files from time to time."""
        self.deadline = self.wheel.now + _LOOK
        self.wheel.watch(self)
        self._warn()

    def close(self) -> None:
        """The listener is gone."""
        self.wheel.forget(self)

    def expire(self, now: float) -> None:
        """Time for a look; called by the wheel."""
        self.deadline = now + _LOOK
        if self.deadline < self.visit:
            self.wheel.hasten(self)
        self.look()
        self._warn()

    def look(self) -> None:
        """Take certificates that have changed; what cannot be used leaves the old ones."""
        files = _signature(self._tls)
        if files == self._files:
            return
        self._files = files
        try:
            certificates = Certificates(self._tls)
        except CertificateError as error:
            _log.error(
                "%s: the old certificates of %s stay: %s: %s",
                *(error.field, self.listener.listen, error.file, error.reason),
            )
            return
        self._certificates = certificates
        _log.info("new certificates for %s: %s", self.listener.listen, certificates)

    def _warn(self) -> None:
        now = time.time()
        if now - self._warned < _DAY:
            return
        for pair in self._certificates.pairs:
            left = days_left(pair, now)
            if left < WARN_DAYS:
                self._warned = now
                _log.warning("%s: %s", pair.files.certificate, _ending(left))

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
                for pair in self._certificates.pairs
            ],
        }


class Certificates:
    """What the files of a listener held when they were read.

    :raises CertificateError: one cannot be used.
    """

    def __init__(self, tls: Tls) -> None:
        self.protocols = ["http/1.1"]
        self.pairs: list[Pair] = []
        self._exact: dict[str, ssl.SSLContext] = {}
        self._wildcards: dict[str, ssl.SSLContext] = {}
        contexts: dict[frozenset[str], ssl.SSLContext] = {}
        for files in tls.certificates:
            context = server_context(tls)
            pair = load_pair(context, files)
            self.pairs.append(pair)
            known = contexts.setdefault(pair.names, context)
            if known is not context:
                # The same names again: RSA beside ECDSA, of which OpenSSL takes what a client can.
                load_pair(known, files)
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

    def __str__(self) -> str:
        now = time.time()
        return "; ".join(
            f"{', '.join(sorted(pair.names)) or 'no name'}: {_ending(days_left(pair, now))}"
            for pair in self.pairs
        )


def days_left(pair: Pair, now: float) -> float:
    """Days until a certificate ends, at a unix time; negative: it has ended."""
    return (pair.not_after - now) / _DAY


def _ending(days: float) -> str:
    return f"ends in {days:.0f} days" if days >= 0 else f"has ended {-days:.0f} days ago"


def _signature(tls: Tls) -> tuple[object, ...]:
    """Equal as long as no file was replaced or written; certbot moves a symlink."""
    return tuple(_stat(file) for pair in tls.certificates for file in (pair.certificate, pair.key))


def _stat(file: str) -> object:
    try:
        found = os.stat(file)
    except OSError as error:
        return error.errno
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
