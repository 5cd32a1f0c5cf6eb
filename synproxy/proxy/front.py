"""What is done before and around every route: redirects to https, answers to certificate
authorities, Strict-Transport-Security, ids of requests.

Where nothing of the kind is asked for there is ``Exchange`` itself, which pays nothing. Must not
know TLS.
"""

from __future__ import annotations

import os
import re
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from synproxy.proxy.answers import LocalAnswer, answer_for, cors_for, date_line
from synproxy.proxy.exchange import Exchange

if TYPE_CHECKING:
    from synproxy.config.model import Hsts, Listener
    from synproxy.core.response import AnswerShape, ResponseHead

_CHALLENGE: Final = re.compile(rb"/\.well-known/acme-challenge/([A-Za-z0-9_-]{1,128})")
"""Tokens are base64url (RFC 8555 section 8.3), so that no path can lead out of the directory."""
_CHALLENGE_LIMIT: Final = 4096
"""Bytes; a key authorization has some 90."""

_PLAIN_ON_TLS: Final = answer_for(400, error="The plain HTTP request was sent to HTTPS port")
"""nginx's words, of its status 497 that nobody ever sees."""


class Front(NamedTuple):
    """What one listener does by itself, compiled."""

    hsts: bytes = b""
    """A field line, or nothing."""
    redirect_https: bool = False
    acme_webroot: str | None = None
    plain_on_tls: bool = False
    """The client speaks plain HTTP to a listener with TLS."""


PLAIN_HTTP: Final = Front(plain_on_tls=True)


def front_of(listener: Listener) -> Front | None:
    """None for a listener of the plain kind."""
    tls = listener.tls
    if tls is None and not listener.redirect_https and listener.acme_webroot is None:
        return None
    hsts = _hsts(tls.hsts) if tls is not None and tls.hsts is not None else b""
    return Front(hsts, listener.redirect_https, listener.acme_webroot)


def _hsts(hsts: Hsts) -> bytes:
    """RFC 6797 section 6.1."""
    value = b"max-age=%d" % hsts.max_age
    if hsts.include_subdomains:
        value += b"; includeSubDomains"
    if hsts.preload:
        value += b"; preload"
    return b"Strict-Transport-Security: %b\r\n" % value


class FrontExchange(Exchange):
    """An exchange on a listener that does something by itself, or one that has an id."""

    __slots__ = ()

    def start(self, *, complete: bool, body: bytes = b"") -> None:
        ids = self.generation.ids
        if ids is not None:
            self._request_id = ids.of(self.block, self.client)
        front = self._handler.front
        if front is None:
            super().start(complete=complete, body=body)
            return
        self.complete = complete
        if front.plain_on_tls:
            self.client.keep_alive = False
            self._send(_PLAIN_ON_TLS, "client_error")
            return
        if front.acme_webroot is not None:
            found = _CHALLENGE.fullmatch(self._line.target)
            if found is not None and self._line.method in (b"GET", b"HEAD"):
                self._send(_challenge(front.acme_webroot, found[1]), "local")
                return
        if front.redirect_https:
            self._send(self._redirect(), "local")
            return
        super().start(complete=complete, body=body)

    def _redirect(self) -> LocalAnswer:
        host = self.host
        target = self._line.target
        if not host or target == b"*":
            return answer_for(400, error="a request without a host cannot be redirected")
        # 301 may turn a POST into a GET (RFC 9110 section 15.4.2), 308 may not.
        status = 301 if self._line.method in (b"GET", b"HEAD") else 308
        path = target.partition(b"?")[0]
        location = b"Location: https://%b%b\r\n" % (host, target)
        return LocalAnswer(status, cors_for(path) + location)

    # --- Strict-Transport-Security

    def _send(self, answer: LocalAnswer, reason: str) -> None:
        super()._send(self._dressed(answer), reason)

    def _identify(self, head: ResponseHead) -> None:
        """The id goes out beside the date, which is the answer's own as well: its shape is shared
        with others. An answer that was in doubt comes here twice."""
        ids = self.generation.ids
        if ids is not None and ids.responds:
            line = ids.line(self._request_id)
            if not head.date.endswith(line):
                head.date = (head.date or date_line(int(time.time()))) + line

    def switched(self, head: ResponseHead, early: bytes) -> None:
        self._identify(head)
        super().switched(head, early)

    def whole_response(self, head: ResponseHead, payload: bytes, framed: bytes) -> None:
        self._dress(head)
        super().whole_response(head, payload, framed)

    def response(self, head: ResponseHead | None, pieces: list[bytes], done: bool) -> None:
        if head is not None:
            self._dress(head)
        super().response(head, pieces, done)

    def _dressed(self, answer: LocalAnswer) -> LocalAnswer:
        """An answer of our own with what the listener and the request add to it."""
        front = self._handler.front
        fields = answer.fields
        if front is not None and front.hsts:
            fields += front.hsts
        ids = self.generation.ids
        if ids is not None and ids.responds:
            fields += ids.line(self._request_id)
        if fields is answer.fields:
            return answer
        return LocalAnswer(answer.status, fields, answer.body)

    def _dress(self, head: ResponseHead) -> None:
        """The same for a server's answer."""
        self._identify(head)
        front = self._handler.front
        if front is not None and front.hsts:
            head.shape = _with_hsts(head.shape, front.hsts)


def _with_hsts(shape: AnswerShape, line: bytes) -> AnswerShape:
    """The same answer with our Strict-Transport-Security, which is for who owns the certificate to
    say: a server's own is replaced."""
    known = shape.secured
    if known is None or known[0] != line:
        made = shape.with_lines(_OWN.sub(b"", shape.before), _OWN.sub(b"", shape.after) + line)
        known = shape.secured = made.secured = (line, made)
    return known[1]


_OWN: Final = re.compile(rb"(?i)(?<=\n)strict-transport-security:[^\n]*\n")


def _challenge(webroot: str, token: bytes) -> LocalAnswer:
    """The file of a challenge, or 404. Reading a few bytes blocks for no longer than a stat."""
    path = Path(webroot, ".well-known", "acme-challenge", token.decode())
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return answer_for(404)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return answer_for(404)
        body = os.read(file, _CHALLENGE_LIMIT)
    finally:
        os.close(file)
    return LocalAnswer(200, b"Content-Type: text/plain\r\nCache-Control: no-store\r\n", body)
