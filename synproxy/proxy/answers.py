"""Answers that synproxy makes itself: Matrix JSON errors with Synapse's CORS headers.

A browser client can read an error only with CORS headers, and a Matrix client understands only
JSON with an ``errcode``; nginx's HTML pages are neither.
"""

from __future__ import annotations

import json
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

CORS: Final = (
    b"Access-Control-Allow-Origin: *\r\n"
    b"Access-Control-Allow-Methods: GET, HEAD, POST, PUT, DELETE, OPTIONS\r\n"
    b"Access-Control-Allow-Headers: X-Requested-With, Content-Type, Authorization, Date\r\n"
    b"Access-Control-Expose-Headers: Synapse-Trace-Id, Server\r\n"
)
"""Synapse's ``set_cors_headers`` (synapse/http/server.py)."""

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


def local_answer(
    status: int,
    *,
    errcode: str | None = None,
    error: str | None = None,
    server: bytes,
    minor: int,
    keep_alive: bool,
    head_request: bool,
) -> tuple[bytes, int]:
    """A whole answer, and how many bytes of it are its body.

    Below 400 there is no body. ``server`` is a field line with its CRLF, or empty.
    """
    body = b""
    if status >= 400:
        default_code, default_error = _ERRORS.get(status, ("M_UNKNOWN", phrase(status)))
        body = json.dumps(
            {"errcode": errcode or default_code, "error": error or default_error}
        ).encode()
    lines = [
        b"HTTP/1.1 %d %b\r\n" % (status, phrase(status).encode()),
        server,
        date_line(int(time.time())),
        CORS,
    ]
    if status not in (204, 304):
        if body:
            lines.append(b"Content-Type: application/json\r\n")
        lines.append(b"Content-Length: %d\r\n" % len(body))
    if status == 405:
        lines.append(b"Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\n")
    lines.append(connection_line(minor, keep_alive))
    lines.append(b"\r\n")
    if head_request:
        body = b""
    return b"".join(lines) + body, len(body)


def connection_line(minor: int, keep_alive: bool) -> bytes:
    """The ``Connection`` field where it is not the version's default (RFC 9112 section 9.3)."""
    if keep_alive:
        return b"" if minor else b"Connection: keep-alive\r\n"
    return b"Connection: close\r\n"
