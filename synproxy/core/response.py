"""Response heads of servers: what is accepted, how the body is framed, what the client sees.

RFC 9112 section 6.3 decides the framing. A server that breaks the rules costs its connection,
and the request fails with 502 before a byte has reached the client.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from synproxy.core.fields import HOP_BY_HOP, tokens
from synproxy.errors import Failure, UpstreamError

_CONTENT_LENGTH: Final = re.compile(rb"[0-9]{1,18}")


# How the end of a body is found. Not an enum: in CPython 3.11 looking at a member costs three times
# as much as a module constant, and this happens dozens of times a request.
NO_BODY: Final = 0
BY_LENGTH: Final = 1
BY_CHUNKS: Final = 2
BY_CLOSE: Final = 3

_JUDGED: Final = HOP_BY_HOP | {b"content-length"}
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


class AnswerShape:
    """What many answers of a server have in common: all of the head but the values of ``Date``
    and ``Content-Length``. Never changed once it is made, so that it can be remembered."""

    __slots__ = (
        "after",
        "before",
        "compressed",
        "fields",
        "framing",
        "keep_alive",
        "reason",
        "secured",
        "status",
        "upgrade",
    )

    def __init__(
        self,
        status: int,
        reason: bytes,
        framing: int,
        keep_alive: bool,
        upgrade: bytes,
        before: bytes,
        after: bytes,
        fields: Sequence[tuple[bytes, bytes]],
    ) -> None:
        self.status = status
        self.reason = reason
        self.framing = framing
        self.keep_alive = keep_alive
        """Whether the server keeps the connection."""
        self.upgrade = upgrade
        self.before = before
        """The client's status line and the field lines before ``Date``."""
        self.after = after
        """The field lines after it."""
        self.fields = fields
        """All other fields, as the server sent them."""
        self.compressed: tuple[AnswerShape, ...] | None = None
        """Room for ``core.compression`` to remember what it makes of this shape."""
        self.secured: tuple[bytes, AnswerShape] | None = None
        """The same for ``proxy.front``, with the line it adds."""

    def value(self, name: bytes) -> bytes:
        """The first value of a field by its lower-case name, empty when absent."""
        for field, value in self.fields:
            if field.lower() == name:
                return value
        return b""

    def with_lines(self, before: bytes, after: bytes) -> AnswerShape:
        """The same with other lines for the client."""
        return AnswerShape(
            self.status,
            self.reason,
            self.framing,
            self.keep_alive,
            self.upgrade,
            before,
            after,
            self.fields,
        )


class ResponseHead:
    """The head of one answer: its shape, and what is its own."""

    __slots__ = ("content_length", "date", "framing", "shape")

    def __init__(self, shape: AnswerShape, framing: int, date: bytes, content_length: int) -> None:
        self.shape = shape
        self.framing = framing
        """That of the shape, or NONE where the length is 0."""
        self.date = date
        """The line for the client, empty if there is none."""
        self.content_length = content_length
        """-1 if not given."""


def judge_response(
    status: int,
    reason: bytes,
    minor: int,
    fields: Sequence[tuple[bytes, bytes]],
    *,
    head_request: bool,
    hidden: frozenset[bytes] = ALWAYS_HIDDEN,
    server_line: bytes = b"",
) -> ResponseHead:
    """Judge the head of a server's answer.

    ``hidden``: lower-case names of fields that the client does not get
    (nginx ``proxy_hide_header``). ``server_line``: our own ``Server``, as a line.

    :raises UpstreamError: INVALID.
    """
    if not 100 <= status <= 599:
        raise UpstreamError(Failure.INVALID, f"status {status}")
    special: dict[bytes, bytes] = {}
    passed: list[tuple[bytes, bytes]] = []
    others: list[tuple[bytes, bytes]] = []
    for name, value in fields:
        lower = name.lower()
        if lower != b"date" and lower != b"content-length":
            others.append((name, value))
        if lower in _JUDGED:
            if lower not in special:
                special[lower] = value
            elif lower == b"content-length" or lower == b"transfer-encoding":
                raise UpstreamError(Failure.INVALID, f"repeated {lower.decode()}")
            else:
                special[lower] += b"," + value
        elif lower not in hidden:
            passed.append((lower, b"%b: %b\r\n" % (name, value)))
    options = tokens(special.get(b"connection", b""))
    if any(option not in _ORDINARY_OPTIONS for option in options):
        passed = [field for field in passed if field[0] not in options]
    close = b"close" in options or (minor == 0 and b"keep-alive" not in options)
    chunked, length = _judge_framing(special, minor)
    if head_request or status == 204 or status == 304 or status < 200:
        framing = NO_BODY
    elif chunked:
        framing = BY_CHUNKS
    elif length >= 0:
        framing = BY_LENGTH
    else:
        framing = BY_CLOSE
        close = True
    names = [lower for lower, _ in passed]
    place = names.index(b"date") if b"date" in names else len(passed)
    lines = [line for _, line in passed]
    shape = AnswerShape(
        status,
        reason,
        framing,
        not close,
        special.get(b"upgrade", b"") if b"upgrade" in options else b"",
        b"HTTP/1.1 %d %b\r\n%b%b" % (status, reason, server_line, b"".join(lines[:place])),
        b"".join(lines[place + 1 :]),
        tuple(others),
    )
    if length == 0 and framing == BY_LENGTH:
        framing = NO_BODY
    return ResponseHead(shape, framing, lines[place] if place < len(lines) else b"", length)


def _judge_framing(special: dict[bytes, bytes], minor: int) -> tuple[bool, int]:
    """Whether the body is chunked, and its length or -1."""
    length = special.get(b"content-length")
    encoding = special.get(b"transfer-encoding")
    if encoding is not None:
        if length is not None:
            raise UpstreamError(Failure.INVALID, "Transfer-Encoding and Content-Length")
        if minor == 0:
            raise UpstreamError(Failure.INVALID, "Transfer-Encoding in HTTP/1.0")
        if encoding.lower() != b"chunked":
            raise UpstreamError(Failure.INVALID, "Transfer-Encoding other than chunked")
        return True, -1
    if length is None:
        return False, -1
    if _CONTENT_LENGTH.fullmatch(length) is None:
        raise UpstreamError(Failure.INVALID, "invalid Content-Length")
    return False, int(length)


_ORDINARY_OPTIONS: Final = frozenset({b"close", b"keep-alive", b"upgrade"})
