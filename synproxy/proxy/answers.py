"""Answers that synproxy makes itself: Matrix JSON with Synapse's CORS headers.

A browser client can read an error only with CORS headers, and a Matrix client understands only
JSON with an ``errcode``; nginx's HTML pages are neither.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

_CORS: Final = (
    b"Access-Control-Allow-Origin: *\r\n"
    b"Access-Control-Allow-Methods: GET, HEAD, POST, PUT, DELETE, OPTIONS\r\n"
    b"Access-Control-Allow-Headers: %b\r\n"
    b"Access-Control-Expose-Headers: %b\r\n"
)
CORS: Final = _CORS % (
    b"X-Requested-With, Content-Type, Authorization, Date",
    b"Synapse-Trace-Id, Server",
)
"""Synapse's ``set_cors_headers`` (synapse/http/server.py)."""

CORS_RENDEZVOUS: Final = _CORS % (
    b"Content-Type, If-Match, If-None-Match",
    b"Synapse-Trace-Id, Server, ETag",
)
"""The same function for the rendezvous of MSC4108, whose state is an ``ETag``. MSC4388, its
successor, keeps that state in its JSON and has the ordinary ones."""

RENDEZVOUS_CREATE: Final = (
    b"/_matrix/client/unstable/org.matrix.msc4108/rendezvous",
    b"/_matrix/client/v1/org.matrix.msc4108/rendezvous",
)
RENDEZVOUS_SESSIONS: Final = b"/_synapse/client/rendezvous"

_NO_STORE: Final = b"Cache-Control: no-cache, no-store, must-revalidate\r\n"
"""As Synapse sends with its JSON: a 404 that somebody keeps outlives its reason."""

_ERRORS: Final = {
    400: ("M_UNKNOWN", "Bad request"),
    403: ("M_FORBIDDEN", "Forbidden"),
    404: ("M_UNRECOGNIZED", "Unrecognized request"),
    405: ("M_UNRECOGNIZED", "Unrecognized request"),
    408: ("M_UNKNOWN", "Request timeout"),
    413: ("M_TOO_LARGE", "Request content is too large"),
    414: ("M_TOO_LARGE", "Request target is too long"),
    417: ("M_UNKNOWN", "Expectation failed"),
    429: ("M_LIMIT_EXCEEDED", "Too many requests"),
    431: ("M_TOO_LARGE", "Request header fields are too large"),
    501: ("M_UNRECOGNIZED", "Transfer coding is not implemented"),
    502: ("M_UNKNOWN", "Bad gateway"),
    503: ("M_UNKNOWN", "Service unavailable"),
    504: ("M_UNKNOWN", "Gateway timeout"),
    505: ("M_UNKNOWN", "HTTP version not supported"),
}

_EVERY_METHOD: Final = b"GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"


@dataclass(frozen=True, slots=True)
class LocalAnswer:
    """An answer without what differs from one connection to the next."""

    status: int
    fields: bytes
    """Field lines with their CRLF."""
    body: bytes = b""

    def render(
        self, *, server: bytes, minor: int, keep_alive: bool, head_request: bool
    ) -> tuple[bytes, int]:
        """The bytes to send, and how many of them are the body.

        ``server`` is a field line with its CRLF, or empty.
        """
        body = self.body
        lines = [
            b"HTTP/1.1 %d %b\r\n" % (self.status, phrase(self.status).encode()),
            server,
            date_line(int(time.time())),
            self.fields,
        ]
        if self.status not in (204, 304):  # RFC 9110 section 8.6
            lines.append(b"Content-Length: %d\r\n" % len(body))
        lines.append(connection_end(minor, keep_alive))
        if head_request:
            body = b""
        return b"".join(lines) + body, len(body)


def answer_for(
    status: int,
    errcode: str | None = None,
    error: str | None = None,
    *,
    retry_after: float = 0.0,
    allow: bytes = _EVERY_METHOD,
    cors: bytes = CORS,
) -> LocalAnswer:
    """A Matrix JSON error from 400 up, an answer without a body below.

    ``retry_after``: seconds until the client should come again; 0: nothing is said about it.
    ``allow``: the methods that a 405 names (RFC 9110 section 15.5.6).
    """
    fields = cors
    if status < 400:
        return LocalAnswer(status, fields)
    default_code, default_error = _ERRORS.get(status, ("M_UNKNOWN", phrase(status)))
    told: dict[str, str | int] = {
        "errcode": errcode or default_code,
        "error": error or default_error,
    }
    if status == 405:
        fields += b"Allow: %b\r\n" % allow
    if retry_after > 0:
        # Both forms, as Synapse's LimitExceededError: older clients know the JSON only.
        told["retry_after_ms"] = math.ceil(retry_after * 1000)
        fields += b"Retry-After: %d\r\n" % math.ceil(retry_after)
    fields += b"Content-Type: application/json\r\n" + _NO_STORE
    return LocalAnswer(status, fields, json.dumps(told).encode())


def cors_for(path: bytes) -> bytes:
    """The CORS fields that Synapse sends with every answer for a path."""
    if path.startswith(RENDEZVOUS_SESSIONS) or path in RENDEZVOUS_CREATE:
        return CORS_RENDEZVOUS
    return CORS


def phrase(status: int) -> str:
    """The reason phrase of RFC 9110, empty for codes without one."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


@lru_cache(maxsize=2)
def date_line(now: int) -> bytes:
    """The ``Date`` field for a unix time in seconds (RFC 9110 section 6.6.1)."""
    return b"Date: %b\r\n" % formatdate(now, usegmt=True).encode()


def connection_end(minor: int, keep_alive: bool) -> bytes:
    """The end of a head: ``Connection`` where it is not the version's default
    (RFC 9112 section 9.3), and the empty line."""
    if keep_alive:
        return b"\r\n" if minor else b"Connection: keep-alive\r\n\r\n"
    return b"Connection: close\r\n\r\n"
