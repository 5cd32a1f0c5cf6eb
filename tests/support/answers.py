"""How tests see the judged head of an answer: the one place that knows what it is made of."""

from __future__ import annotations

from typing import NamedTuple

from synproxy.core.compression import Compression
from synproxy.core.response import ALWAYS_HIDDEN, BodyFraming, ResponseHead
from synproxy.wire.response_reader import ResponseReader

_FRAMING = {
    BodyFraming.NONE: "none",
    BodyFraming.LENGTH: "length",
    BodyFraming.CHUNKED: "chunked",
    BodyFraming.CLOSE: "close",
}


class Judged(NamedTuple):
    """What is known of an answer once its head is here."""

    status: int
    framing: str
    length: int
    keep_alive: bool
    upgrade: bytes
    lines: list[bytes]
    """The field lines of the server that the client gets, without their ends."""


def view(head: ResponseHead) -> Judged:
    return Judged(
        head.status,
        _FRAMING[head.framing],
        head.content_length,
        head.keep_alive,
        head.upgrade,
        [line.removesuffix(b"\r\n") for line in head.passed if line],
    )


def read(
    data: bytes, *, head_request: bool = False, hidden: frozenset[bytes] = ALWAYS_HIDDEN
) -> ResponseHead:
    """As the data path reads it: field by field."""
    return ResponseReader(hidden).read(data, head_request=head_request)


def head_bytes(*fields: bytes, status: int = 200, minor: int = 1) -> bytes:
    """A head with these field lines."""
    return b"\r\n".join([b"HTTP/1.%d %d Reason" % (minor, status), *fields, b"", b""])


def is_compressible(compression: Compression, head: ResponseHead, length: int | None) -> bool:
    """Whether kind and size of an answer allow it; ``length`` of the body if that is known."""
    return compression.eligible(head, length)
