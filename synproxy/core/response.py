"""Response heads of servers: what is accepted, how the body is framed, what the client sees.

RFC 9112 section 6.3 decides the framing. A server that breaks the rules costs its connection,
and the request fails with 502 before a byte has reached the client.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from synproxy.core.fields import HOP_BY_HOP, tokens
from synproxy.errors import Failure, UpstreamError

_CONTENT_LENGTH: Final = re.compile(rb"[0-9]{1,18}")


class BodyFraming:
    """How the end of a body is found. Plain numbers: in CPython 3.11 looking at an
    enum member costs three times as much, and this happens dozens of times a request."""

    NONE = 0
    LENGTH = 1
    CHUNKED = 2
    CLOSE = 3


JUDGED: Final = HOP_BY_HOP | {b"content-length", b"date"}
ALWAYS_HIDDEN: Final = frozenset(
    {
        b"x-accel-expires",
        b"x-accel-redirect",
        b"x-accel-limit-rate",
        b"x-accel-buffering",
        b"x-accel-charset",
        b"x-pad",
    }
)
"""Hidden by nginx's proxy_hide_header defaults, and meaningless to a client."""


class Remembered(NamedTuple):
    """A head of which most lines came before."""

    passed: list[bytes]
    """The lines for the client, with their CRLF."""
    lines: Sequence[bytes]
    """All field lines as they came."""


class ResponseHead:
    """The head of a server's answer, judged.

    ``hidden``: lower-case names of fields that the client does not get
    (nginx ``proxy_hide_header``). ``remembered``: what the reader of heads knows already of lines
    that it has seen; then ``fields`` has only those of ``JUDGED``.

    :raises UpstreamError: INVALID.
    """

    __slots__ = (
        "_fields",
        "_lines",
        "content_length",
        "dated",
        "framing",
        "keep_alive",
        "passed",
        "reason",
        "status",
        "upgrade",
    )

    def __init__(
        self,
        status: int,
        reason: bytes,
        minor: int,
        fields: Sequence[tuple[bytes, bytes]],
        *,
        head_request: bool,
        hidden: frozenset[bytes] = ALWAYS_HIDDEN,
        remembered: Remembered | None = None,
    ) -> None:
        if not 100 <= status <= 599:
            raise UpstreamError(Failure.INVALID, f"status {status}")
        self.status = status
        self.reason = reason
        self._fields = fields
        self._lines: Sequence[bytes] = ()
        self.content_length = -1
        self.upgrade = b""
        self.dated = False
        """Whether the client gets a Date of the server's."""
        passed: list[bytes] = []
        """Field lines for the client, with their CRLF."""
        if remembered is not None:
            passed, self._lines = remembered
        append = passed.append
        special: dict[bytes, bytes] | None = None
        for name, value in fields:
            lower = _lower(name)
            if lower in JUDGED:
                if lower == b"date":
                    if lower not in hidden:
                        self.dated = True
                        if remembered is None:
                            append(b"%b: %b\r\n" % (name, value))
                    continue
                if special is None:
                    special = {}
                if lower in special:
                    if lower == b"content-length" or lower == b"transfer-encoding":
                        raise UpstreamError(Failure.INVALID, f"repeated {lower.decode()}")
                    special[lower] += b"," + value
                else:
                    special[lower] = value
            elif lower not in hidden:
                append(b"%b: %b\r\n" % (name, value))
        self.passed = passed
        close = minor == 0
        chunked = False
        if special is not None:
            connection = special.get(b"connection")
            if connection is not None:
                names = tokens(connection)
                close = b"close" in names or (close and b"keep-alive" not in names)
                if any(name not in _ORDINARY_OPTIONS for name in names):
                    strip = set(names)
                    self.passed = [
                        line for line in passed if line.partition(b":")[0].lower() not in strip
                    ]
                if b"upgrade" in names:
                    self.upgrade = special.get(b"upgrade", b"")
            length = special.get(b"content-length")
            encoding = special.get(b"transfer-encoding")
            if encoding is not None:
                if length is not None:
                    raise UpstreamError(Failure.INVALID, "Transfer-Encoding and Content-Length")
                if minor == 0:
                    raise UpstreamError(Failure.INVALID, "Transfer-Encoding in HTTP/1.0")
                if encoding.lower() != b"chunked":
                    raise UpstreamError(Failure.INVALID, "Transfer-Encoding other than chunked")
                chunked = True
            elif length is not None:
                if _CONTENT_LENGTH.fullmatch(length) is None:
                    raise UpstreamError(Failure.INVALID, "invalid Content-Length")
                self.content_length = int(length)
        if head_request or status == 204 or status == 304 or status < 200:
            self.framing = BodyFraming.NONE
        elif chunked:
            self.framing = BodyFraming.CHUNKED
        elif self.content_length >= 0:
            self.framing = BodyFraming.LENGTH if self.content_length else BodyFraming.NONE
        else:
            self.framing = BodyFraming.CLOSE
            close = True
        self.keep_alive = not close

    @property
    def fields(self) -> Sequence[tuple[bytes, bytes]]:
        """All fields as the server sent them."""
        if self._lines:
            self._fields = [
                (name, value.strip(b" \t"))
                for name, _, value in (line.partition(b":") for line in self._lines)
            ]
            self._lines = ()
        return self._fields

    def value(self, name: bytes) -> bytes:
        """The first value of a field by its lower-case name, empty when absent."""
        for field, value in self.fields:
            if field.lower() == name:
                return value
        return b""


_ORDINARY_OPTIONS: Final = frozenset({b"close", b"keep-alive", b"upgrade"})
_LOWER: dict[bytes, bytes] = {}


def _lower(name: bytes) -> bytes:
    """``name.lower()``, remembered: servers send the same few names again and again."""
    lower = _LOWER.get(name)
    if lower is None:
        if len(_LOWER) >= 256:
            _LOWER.clear()
        lower = _LOWER[name] = name.lower()
    return lower
