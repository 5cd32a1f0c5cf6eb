"""HTTP/2 frames: bytes to facts and back (RFC 9113 sections 4 and 6).

Only their form: what a frame means for a stream or the connection is for
``downstream.http2``, header blocks are for ``wire.hpack``.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (RFC 9113 section 3.4)."""

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITISED: Final = 0x20

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
ENHANCE_YOUR_CALM: Final = 0xB

SETTINGS_ENABLE_PUSH: Final = 0x2
SETTINGS_MAX_CONCURRENT_STREAMS: Final = 0x3
SETTINGS_INITIAL_WINDOW_SIZE: Final = 0x4
SETTINGS_MAX_FRAME_SIZE: Final = 0x5
SETTINGS_MAX_HEADER_LIST_SIZE: Final = 0x6

FRAME_SIZE: Final = 16384
"""Bytes of a frame's payload that every peer takes, and that we take."""
INITIAL_WINDOW: Final = 65535
"""Bytes of flow control that both sides begin with (RFC 9113 section 6.9.2)."""
WINDOW_LIMIT: Final = 2**31 - 1

_PREFIX: Final = struct.Struct(">HBBBL")
_LONG: Final = struct.Struct(">L")
_SETTING: Final = struct.Struct(">HL")
_GOAWAY: Final = struct.Struct(">LL")
_STREAM: Final = 0x7FFFFFFF
_LENGTHS: Final = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
_OF_STREAMS: Final = frozenset({DATA, HEADERS, PRIORITY, RST_STREAM, CONTINUATION})
_OF_CONNECTION: Final = frozenset({SETTINGS, PING, GOAWAY})


class Http2Error(Exception):
    """The connection cannot go on; ``code`` is for the GOAWAY (RFC 9113 section 5.4.1)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Frame(NamedTuple):
    """One frame, its padding and the fields for priorities gone."""

    kind: int
    flags: int
    stream: int
    payload: bytes
    length: int
    """Of the payload as it came, which is what flow control counts."""


class FrameReader:
    """Takes bytes as they come and gives frames; keeps at most one that is not whole."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    @property
    def partial(self) -> bool:
        """Whether a part of a frame has come."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are now whole.

        :raises Http2Error: a frame has the wrong form. Frames before it are lost, as is the
            connection.
        """
        if self._buffer:
            data = self._buffer + data
        frames: list[Frame] = []
        at = 0
        size = len(data)
        while size - at >= 9:
            high, low, kind, flags, stream = _PREFIX.unpack_from(data, at)
            length = high << 8 | low
            if length > FRAME_SIZE:
                raise Http2Error(FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            end = at + 9 + length
            if end > size:
                break
            payload = data[at + 9 : end]
            at = end
            stream &= _STREAM
            if kind <= CONTINUATION:
                _check(kind, flags, stream, length)
                if flags & (PADDED | PRIORITISED) and kind <= HEADERS:
                    payload = _bare(kind, flags, payload)
            frames.append(Frame(kind, flags, stream, payload, length))
        self._buffer = data[at:]
        return frames


def _check(kind: int, flags: int, stream: int, length: int) -> None:
    if stream == 0:
        if kind in _OF_STREAMS:
            raise Http2Error(PROTOCOL_ERROR, "a frame of a stream without one")
    elif kind in _OF_CONNECTION:
        raise Http2Error(PROTOCOL_ERROR, "a frame of the connection with a stream")
    expected = _LENGTHS.get(kind)
    if kind == SETTINGS:
        wrong = length != 0 if flags & ACK else length % 6 != 0
    elif kind == GOAWAY:
        wrong = length < 8
    else:
        wrong = expected is not None and length != expected
    if wrong:
        raise Http2Error(FRAME_SIZE_ERROR, f"a frame of type {kind} with {length} bytes")


def _bare(kind: int, flags: int, payload: bytes) -> bytes:
    """The payload of DATA or HEADERS without padding (RFC 9113 section 6.1) and priority."""
    start, end = 0, len(payload)
    if flags & PADDED:
        if not end:
            raise Http2Error(FRAME_SIZE_ERROR, "no room for the length of the padding")
        start = 1
        end -= payload[0]
    if kind == HEADERS and flags & PRIORITISED:
        if end - start < 5:
            raise Http2Error(
                PROTOCOL_ERROR if flags & PADDED else FRAME_SIZE_ERROR,
                "no room for the priority",
            )
        start += 5  # not looked at (section 5.3.2)
    if end < start:
        raise Http2Error(PROTOCOL_ERROR, "more padding than payload")
    return payload[start:end]


def number(payload: bytes) -> int:
    """The value of RST_STREAM, or of WINDOW_UPDATE without its reserved bit."""
    value: int = _LONG.unpack(payload)[0]
    return value


def settings_in(payload: bytes) -> list[tuple[int, int]]:
    """Identifiers and values of a SETTINGS frame, in order.

    :raises Http2Error: a value is out of its bounds (RFC 9113 section 6.5.2).
    """
    found = list(_SETTING.iter_unpack(payload))
    for name, value in found:
        if name == SETTINGS_ENABLE_PUSH and value > 1:
            raise Http2Error(PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH neither 0 nor 1")
        if name == SETTINGS_INITIAL_WINDOW_SIZE and value > WINDOW_LIMIT:
            raise Http2Error(FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE too large")
        if name == SETTINGS_MAX_FRAME_SIZE and not FRAME_SIZE <= value < 2**24:
            raise Http2Error(PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE out of bounds")
    return found


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame, ready to send."""
    length = len(payload)
    return _PREFIX.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload


def headers(stream: int, block: bytes, *, end: bool) -> bytes:
    """A header block as HEADERS, and CONTINUATION if it is long. ``end``: there is no body."""
    flags = END_STREAM if end else 0
    if len(block) <= FRAME_SIZE:
        return frame(HEADERS, flags | END_HEADERS, stream, block)
    pieces = [block[at : at + FRAME_SIZE] for at in range(0, len(block), FRAME_SIZE)]
    frames = [frame(HEADERS, flags, stream, pieces[0])]
    frames += [frame(CONTINUATION, 0, stream, piece) for piece in pieces[1:-1]]
    frames.append(frame(CONTINUATION, END_HEADERS, stream, pieces[-1]))
    return b"".join(frames)


def data(stream: int, payload: bytes, *, end: bool) -> bytes:
    """A part of a body in one DATA frame; ``end``: the last one."""
    return frame(DATA, END_STREAM if end else 0, stream, payload)


def settings(values: dict[int, int]) -> bytes:
    """Our SETTINGS."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*one) for one in values.items()))


def reset(stream: int, code: int) -> bytes:
    """RST_STREAM."""
    return frame(RST_STREAM, 0, stream, _LONG.pack(code))


def window_update(stream: int, increment: int) -> bytes:
    """WINDOW_UPDATE; ``stream`` 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, _LONG.pack(increment))


def goaway(last: int, code: int, reason: str = "") -> bytes:
    """GOAWAY: streams above ``last`` were not looked at (RFC 9113 section 6.8)."""
    return frame(GOAWAY, 0, 0, _GOAWAY.pack(last, code) + reason.encode("ascii", "replace"))


SETTINGS_ACK: Final = frame(SETTINGS, ACK, 0)
