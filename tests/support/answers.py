"""How tests see the judged head of an answer: the one place that knows what it is made of."""

from __future__ import annotations

from typing import NamedTuple

from synproxy.core.compression import Compression
from synproxy.core.response import (
    ALWAYS_HIDDEN,
    BY_CHUNKS,
    BY_CLOSE,
    BY_LENGTH,
    NO_BODY,
    ResponseHead,
)
from synproxy.wire.response_reader import ResponseReader

_FRAMING = {
    NO_BODY: "none",
    BY_LENGTH: "length",
    BY_CHUNKS: "chunked",
    BY_CLOSE: "close",
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
    shape = head.shape
    lines = (shape.before + head.date + shape.after).split(b"\r\n")
    return Judged(
        shape.status,
        _FRAMING[head.framing],
        head.content_length,
        shape.keep_alive,
        shape.upgrade,
        lines[1:-1],
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
    known = -1 if length is None else length
    first = compression.shapes(head, known)
    assert compression.shapes(head, known) == first  # remembered
    return bool(first)
