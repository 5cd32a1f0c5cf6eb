"""The chunked transfer coding (RFC 9112 section 7.1), decoded strictly and re-framed.

Chunk extensions and trailers are checked, bounded and dropped: Matrix needs neither, and both
have smuggled requests before.
"""

from __future__ import annotations

import re
from typing import Final

LAST_CHUNK: Final = b"0\r\n\r\n"

_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t !-~\x80-\xff]*)?\r\n")
_PLAIN_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
_CANONICAL_SIZE: Final = re.compile(rb"([1-9a-f][0-9a-f]{0,7})\r\n")
_TRAILER_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t !-~\x80-\xff]*\r\n")
_MAX_LINE: Final = 1024
_MAX_OVERHEAD: Final = 64 * 1024
"""Bytes of extensions and trailers in one body, over all its chunks."""
_FORBIDDEN_TRAILERS: Final = frozenset(
    {b"content-length", b"transfer-encoding", b"host", b"content-encoding", b"authorization"}
)


class ChunkedError(ValueError):
    """The bytes are not a chunked body that we accept."""


def whole_chunk(data: bytes) -> bytes:
    """The payload if ``data`` is exactly one chunk and the end of the body, framed as
    :func:`encode_chunk` and ``LAST_CHUNK`` frame them; otherwise nothing, which says nothing."""
    match = _CANONICAL_SIZE.match(data)
    if match is None:
        return b""
    start = match.end()
    stop = start + int(match[1], 16)
    return data[start:stop] if data[stop:] == b"\r\n0\r\n\r\n" else b""


_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILER: Final = 3
_DONE: Final = 4


class ChunkedDecoder:
    """Bytes in, payload out; any split of the input gives the same payload."""

    __slots__ = ("_buffer", "_overhead", "_remaining", "_state")

    def __init__(self) -> None:
        self._state = _SIZE
        self._remaining = 0
        self._buffer = b""
        self._overhead = 0

    def feed(self, data: bytes, payload: list[bytes]) -> bytes | None:
        """Append decoded pieces to ``payload``.

        Returns None while the body goes on, and the bytes after its end once it is complete.

        :raises ChunkedError: on anything that is not strictly chunked, or over the bounds.
        """
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        position = 0
        end = len(data)
        while True:
            state = self._state
            if state == _SIZE:
                # The common case, without a state for each part: a whole chunk is here.
                plain = _PLAIN_SIZE.match(data, position)
                if plain is not None:
                    start = plain.end()
                    stop = start + int(plain[1], 16)
                    if stop > start:
                        if data[stop : stop + 2] == b"\r\n":
                            payload.append(data[start:stop])
                            position = stop + 2
                            continue
                    elif data[start : start + 2] == b"\r\n":
                        self._state = _DONE
                        return data[start + 2 :]
            if state == _DATA:
                if position >= end:
                    return None
                piece = data[position : position + self._remaining]
                payload.append(piece)
                position += len(piece)
                self._remaining -= len(piece)
                if self._remaining:
                    return None
                self._state = _DATA_END
            elif state == _DATA_END:
                if end - position < 2:
                    if data[position:end] not in (b"", b"\r"):
                        raise ChunkedError("chunk data is not followed by CRLF")
                    self._buffer = data[position:]
                    return None
                if data[position : position + 2] != b"\r\n":
                    raise ChunkedError("chunk data is not followed by CRLF")
                position += 2
                self._state = _SIZE
            elif state == _DONE:
                raise ChunkedError("data after the last chunk")
            else:
                stop = data.find(b"\n", position, position + _MAX_LINE)
                if stop < 0:
                    if end - position >= _MAX_LINE:
                        raise ChunkedError(f"a chunk line of more than {_MAX_LINE} bytes")
                    self._buffer = data[position:]
                    return None
                line = data[position : stop + 1]
                position = stop + 1
                if state == _SIZE:
                    self._size_line(line)
                elif line == b"\r\n":
                    self._state = _DONE
                    return data[position:]
                else:
                    self._trailer_line(line)

    def _size_line(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise ChunkedError("invalid chunk size line")
        size = int(match[1], 16)
        if size > 1 << 60:
            raise ChunkedError("chunk size out of range")
        self._count(len(line) - len(match[1]) - 2)
        self._remaining = size
        self._state = _DATA if size else _TRAILER

    def _trailer_line(self, line: bytes) -> None:
        match = _TRAILER_LINE.fullmatch(line)
        if match is None or match[1].lower() in _FORBIDDEN_TRAILERS:
            raise ChunkedError("invalid trailer field")
        self._count(len(line))

    def _count(self, overhead: int) -> None:
        self._overhead += overhead
        if self._overhead > _MAX_OVERHEAD:
            raise ChunkedError(f"more than {_MAX_OVERHEAD} bytes of extensions and trailers")


def encode_chunk(payload: bytes) -> bytes:
    """One chunk; an empty payload gives nothing, as it would end the body."""
    return b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""
