"""Frames of HTTP/2, held against hyperframe: the same are read, and what is written it reads."""

from __future__ import annotations

from typing import Any

import pytest
from hyperframe import frame as hyperframe
from hyperframe.exceptions import HyperframeError
from hypothesis import given
from hypothesis import strategies as st

from synproxy.wire import http2
from synproxy.wire.http2 import FrameReader, Http2Error

STREAMS = st.integers(1, 2**31 - 1)
PAYLOADS = st.binary(max_size=300)


@st.composite
def frames(draw: st.DrawFn) -> Any:
    """A frame that breaks no rule, as hyperframe makes it."""
    stream = draw(STREAMS)
    kind = draw(st.sampled_from(sorted(MAKERS)))
    return MAKERS[kind](draw, stream)


def _data(draw: st.DrawFn, stream: int) -> Any:
    made = hyperframe.DataFrame(stream, draw(PAYLOADS))
    return _flagged(draw, made, "END_STREAM", "PADDED")


def _headers(draw: st.DrawFn, stream: int) -> Any:
    made = hyperframe.HeadersFrame(stream, draw(PAYLOADS))
    made.depends_on = draw(st.integers(0, 2**31 - 1).filter(lambda other: other != stream))
    made.stream_weight = draw(st.integers(0, 255))
    made.exclusive = draw(st.booleans())
    return _flagged(draw, made, "END_STREAM", "END_HEADERS", "PADDED", "PRIORITY")


def _continuation(draw: st.DrawFn, stream: int) -> Any:
    return _flagged(draw, hyperframe.ContinuationFrame(stream, draw(PAYLOADS)), "END_HEADERS")


def _priority(draw: st.DrawFn, stream: int) -> Any:
    return hyperframe.PriorityFrame(stream, depends_on=stream ^ 1)


def _reset(draw: st.DrawFn, stream: int) -> Any:
    return hyperframe.RstStreamFrame(stream, draw(st.integers(0, 2**32 - 1)))


def _settings(draw: st.DrawFn, stream: int) -> Any:
    names = st.sampled_from([1, 3, 6, 8, 0x99])
    return hyperframe.SettingsFrame(
        0, draw(st.dictionaries(names, st.integers(0, 2**31 - 1), max_size=4))
    )


def _ping(draw: st.DrawFn, stream: int) -> Any:
    made = hyperframe.PingFrame(0, draw(st.binary(min_size=8, max_size=8)))
    return _flagged(draw, made, "ACK")


def _goaway(draw: st.DrawFn, stream: int) -> Any:
    return hyperframe.GoAwayFrame(0, stream, 0, draw(PAYLOADS))


def _window_update(draw: st.DrawFn, stream: int) -> Any:
    return hyperframe.WindowUpdateFrame(
        draw(st.sampled_from([0, stream])), draw(st.integers(1, 2**31 - 1))
    )


MAKERS = {
    "data": _data,
    "headers": _headers,
    "continuation": _continuation,
    "priority": _priority,
    "reset": _reset,
    "settings": _settings,
    "ping": _ping,
    "goaway": _goaway,
    "window_update": _window_update,
}


def _flagged(draw: st.DrawFn, made: Any, *flags: str) -> Any:
    for flag in draw(st.sets(st.sampled_from(flags))):
        made.flags.add(flag)
    if "PADDED" in made.flags:
        made.pad_length = draw(st.integers(0, 255))
    return made


def content(made: Any) -> bytes:
    """The payload without padding and priority."""
    if isinstance(made, hyperframe.DataFrame | hyperframe.HeadersFrame):
        return bytes(made.data)
    return bytes(made.serialize()[9:])


@given(st.lists(frames(), max_size=5), st.data())
def test_what_hyperframe_writes_is_read_however_it_is_cut(
    made: list[Any], data: st.DataObject
) -> None:
    raw = b"".join(one.serialize() for one in made)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    reader = FrameReader()
    found = [
        one
        for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)
        for one in reader.feed(raw[start:end])
    ]
    assert [(one.kind, one.stream, one.payload) for one in found] == [
        (one.type, one.stream_id, content(one)) for one in made
    ]
    assert [one.length for one in found] == [len(one.serialize()) - 9 for one in made]
    assert not reader.partial


@given(st.binary(min_size=9, max_size=80))
def test_no_bytes_are_too_strange_to_be_judged(raw: bytes) -> None:
    """Whatever comes, it is frames or an error of the connection; and what hyperframe refuses
    within the size of a frame is no frame for us."""
    raw = b"\0\0" + bytes([len(raw) - 9]) + raw[3:]
    try:
        (found,) = FrameReader().feed(raw)
    except Http2Error as refusal:
        code = refusal.code
    else:
        code = http2.NO_ERROR
    assert code in (http2.NO_ERROR, http2.PROTOCOL_ERROR, http2.FRAME_SIZE_ERROR)
    if code:
        return
    try:
        other, _ = hyperframe.Frame.parse_frame_header(memoryview(raw[:9]))
        other.parse_body(memoryview(raw[9:]))
    except HyperframeError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        # Values that are judged where they are used, and kinds that a client may not send at all.
        assert found.kind in (http2.SETTINGS, http2.WINDOW_UPDATE, http2.PUSH_PROMISE, 0xA), refused
        return
    assert (found.kind, found.stream) == (other.type, other.stream_id)
    if isinstance(other, hyperframe.DataFrame | hyperframe.HeadersFrame):
        assert found.payload == bytes(other.data)


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 40000])
@pytest.mark.parametrize("end", [True, False])
def test_a_header_block_of_ours_is_read_by_hyperframe(size: int, end: bool) -> None:
    block = bytes(range(256)) * 200
    raw = memoryview(http2.headers(5, block[:size], end=end))
    pieces = []
    flags: list[set[str]] = []
    while raw:
        made, length = hyperframe.Frame.parse_frame_header(raw[:9])
        assert length <= 16384
        made.parse_body(raw[9 : 9 + length])
        assert made.stream_id == 5
        assert isinstance(made, hyperframe.HeadersFrame | hyperframe.ContinuationFrame)
        pieces.append(bytes(made.data))
        flags.append(set(made.flags))
        raw = raw[9 + length :]
    assert b"".join(pieces) == block[:size]
    assert ["END_HEADERS" in one for one in flags] == [False] * (len(flags) - 1) + [True]
    assert ("END_STREAM" in flags[0]) == end


def test_the_other_frames_of_ours_are_read_by_hyperframe() -> None:
    settings = {http2.SETTINGS_MAX_CONCURRENT_STREAMS: 128, http2.SETTINGS_INITIAL_WINDOW_SIZE: 9}
    for raw, expected in (
        (http2.settings(settings), hyperframe.SettingsFrame(0, settings)),
        (http2.SETTINGS_ACK, hyperframe.SettingsFrame(0, flags=["ACK"])),
        (http2.reset(7, http2.CANCEL), hyperframe.RstStreamFrame(7, 8)),
        (http2.window_update(0, 5), hyperframe.WindowUpdateFrame(0, 5)),
        (http2.window_update(7, 2**31 - 1), hyperframe.WindowUpdateFrame(7, 2**31 - 1)),
        (http2.goaway(7, 11, "calm"), hyperframe.GoAwayFrame(0, 7, 11, b"calm")),
        (
            http2.frame(http2.DATA, http2.END_STREAM, 3, b"x"),
            hyperframe.DataFrame(3, b"x", flags=["END_STREAM"]),
        ),
    ):
        assert raw == expected.serialize()
