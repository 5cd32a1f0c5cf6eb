"""The chunked coding: strict, and the same however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.wire.chunked import (
    LAST_CHUNK,
    ChunkedDecoder,
    ChunkedError,
    encode_chunk,
    whole_chunk,
)

LONG = b"x" * 1000


def decode(*pieces: bytes) -> tuple[bytes, bytes | None]:
    """The payload, and what follows the body; None if it has not ended."""
    decoder, payload = ChunkedDecoder(), list[bytes]()
    rest: bytes | None = None
    for piece in pieces:
        if rest is not None:
            rest += piece  # as the connections do: after the end the decoder is not asked
        else:
            rest = decoder.feed(piece, payload)
    return b"".join(payload), rest


def outcome(*pieces: bytes) -> tuple[bytes, bytes | None] | str:
    try:
        return decode(*pieces)
    except ChunkedError:
        return "refused"


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


ACCEPTED = [
    (b"0\r\n\r\n", b"", b""),
    (b"3\r\nabc\r\n0\r\n\r\n", b"abc", b""),
    (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde", b""),
    (b"00003\r\nabc\r\n000\r\n\r\n", b"abc", b""),
    (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2, b""),
    (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n", b""),  # the payload may look like framing
    (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n", b""),
    (b"3e8\r\n" + LONG + b"\r\n0\r\n\r\n", LONG, b""),
    (b"00000000000003e8\r\n" + LONG + b"\r\n0\r\n\r\n", LONG, b""),
    # extensions and trailers are checked and dropped
    (b"3;a\r\nabc\r\n0;b=c\r\n\r\n", b"abc", b""),
    (b'3 ; a="b c;"\r\nabc\r\n0\r\n\r\n', b"abc", b""),
    (b"3\t;\r\nabc\r\n0\r\n\r\n", b"abc", b""),
    (b"0\r\nX-Sum: 1\r\nx-other:\t2 \r\n\r\n", b"", b""),
    # what follows belongs to the next message
    (b"0\r\n\r\nGET / HTTP/1.1\r\n", b"", b"GET / HTTP/1.1\r\n"),
    (b"1\r\na\r\n0\r\nX: y\r\n\r\n\r\n", b"a", b"\r\n"),
]

REFUSED = [
    b"\r\n",
    b"\r\n0\r\n\r\n",
    b"g\r\n",
    b"-1\r\n",
    b"+1\r\na\r\n",
    b"0x1\r\na\r\n",
    b" 1\r\na\r\n",
    b"1 \r\na\r\n",
    b"1\t\r\na\r\n",
    b"1_0\r\n",
    b"\xb2\r\n",
    b"1\na\n0\n\n",
    b"1\n",
    b"1\r\r\n",
    b";a\r\n",
    b"1,\r\n",
    b"1;a\nb\r\n",
    b"1;a\x00b\r\na\r\n",
    b"1;\x7f\r\na\r\n",
    b"1\r\nab\r\n",
    b"1\r\na\n\r\n",
    b"1\r\na\r",
    b"1\r\naXX",
    b"2\r\na\r\n\r\n",
    b"1\r\na0\r\n\r\n",
    b"11111111111111111\r\n",  # seventeen digits
    b"1000000000000001\r\n",  # more than 2**60
    b"f" * 16 + b"\r\n",
    b"0\r\nX\r\n\r\n",
    b"0\r\n X: y\r\n\r\n",
    b"0\r\nX : y\r\n\r\n",
    b"0\r\n: y\r\n\r\n",
    b"0\r\nX: a\x00b\r\n\r\n",
    b"0\r\nX: y\n\r\n",
    b"0\r\nX: y\r\n\n",
    b"0\r\n\n",
    b"0\r\nContent-Length: 5\r\n\r\n",
    b"0\r\ntransfer-encoding: chunked\r\n\r\n",
    b"0\r\nHOST: a\r\n\r\n",
    b"0\r\nAuthorization: x\r\n\r\n",
    b"0\r\nContent-Encoding: gzip\r\n\r\n",
    b"1;" + b"a" * 1023,  # a line without end
    b"0\r\nX: " + b"a" * 1024,
]


@pytest.mark.parametrize(("data", "payload", "rest"), ACCEPTED)
def test_a_body_is_decoded(data: bytes, payload: bytes, rest: bytes) -> None:
    assert decode(data) == (payload, rest)
    assert decode(*bytewise(data)) == (payload, rest)


@pytest.mark.parametrize("data", REFUSED)
def test_what_another_could_read_differently_is_refused(data: bytes) -> None:
    if data != b"1\r\na\r":
        assert outcome(data) == "refused"
        assert outcome(*bytewise(data)) == "refused"
    assert outcome(data + b"XX") == "refused"


@pytest.mark.parametrize(("data", "payload", "rest"), ACCEPTED)
def test_a_body_that_is_cut_has_not_ended(data: bytes, payload: bytes, rest: bytes) -> None:
    for size in range(len(data) - len(rest)):
        found, end = decode(data[:size])
        assert end is None
        assert payload.startswith(found)


def test_what_is_here_of_a_chunk_is_passed_on_at_once() -> None:
    decoder, payload = ChunkedDecoder(), list[bytes]()
    assert decoder.feed(b"a\r\n01234", payload) is None
    assert payload == [b"01234"]
    assert decoder.feed(b"56789\r", payload) is None
    assert payload == [b"01234", b"56789"]


def test_after_the_end_nothing_is_decoded() -> None:
    decoder, payload = ChunkedDecoder(), list[bytes]()
    assert decoder.feed(LAST_CHUNK, payload) == b""
    with pytest.raises(ChunkedError, match="after the last chunk"):
        decoder.feed(b"1\r\na\r\n", payload)


@pytest.mark.parametrize("how", [lambda data: [data], bytewise], ids=["whole", "byte by byte"])
def test_extensions_and_trailers_have_a_bound_over_the_whole_body(how: object) -> None:
    assert callable(how)
    extension = b"1;" + b"a" * 998 + b"\r\na\r\n"
    trailer = b"X: " + b"a" * 995 + b"\r\n"
    decode(*how(extension * 65 + b"0\r\n\r\n"))  # 65 * 999 bytes
    for data in (extension * 66, b"0\r\n" + trailer * 66, extension * 33 + b"0\r\n" + trailer * 33):
        with pytest.raises(ChunkedError, match="65536 bytes of extensions and trailers"):
            decode(*how(data))


def test_the_bounds_are_exact() -> None:
    assert decode(b"1000000000000000\r\n") == (b"", None)  # 2**60
    assert outcome(b"1000000000000001\r\n") == "refused"
    extension = b"1;" + b"a" * 1019 + b"\r\n"  # a line of 1023 bytes, 1020 of them dropped
    assert outcome(extension.replace(b"a", b"aaa", 1)) == "refused"  # 1025
    body = (extension + b"a\r\n") * 64  # 65,280 bytes dropped
    fits = b"1;" + b"a" * 255 + b"\r\na\r\n"  # 256 more
    assert decode(body + fits + LAST_CHUNK)[1] == b""
    assert outcome(body + fits + b"1;\r\na\r\n") == "refused"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n",
        b"5\r\nhello\r\n0\r\n\r\nx",
        b"5\r\nhell\r\n0\r\n\r\n",
        b"5\r\nhello!\r\n0\r\n\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"05\r\nhello\r\n0\r\n\r\n",
        b"A\r\n0123456789\r\n0\r\n\r\n",
        b"5;a\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ],
)
def test_what_is_not_one_whole_chunk_framed_as_we_do_is_left_to_the_decoder(data: bytes) -> None:
    assert whole_chunk(data) == b""


@given(st.binary(min_size=1, max_size=40))
def test_one_whole_chunk_is_taken_in_one_step(payload: bytes) -> None:
    assert whole_chunk(encode_chunk(payload) + LAST_CHUNK) == payload


@pytest.mark.parametrize("payload", [b"a", b"a" * 16, b"\r\n", b"a" * 70_000])
def test_an_encoded_chunk_is_decoded_again(payload: bytes) -> None:
    assert decode(encode_chunk(payload) + LAST_CHUNK) == (payload, b"")


def test_an_empty_payload_is_no_chunk_for_it_would_end_the_body() -> None:
    assert encode_chunk(b"") == b""


CUTS = st.lists(st.integers(0, 60), max_size=6).map(sorted)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *places, len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(st.lists(st.binary(min_size=1, max_size=20)), st.binary(max_size=8), CUTS)
def test_any_cut_gives_the_same_payload_and_the_same_rest(
    chunks: list[bytes], rest: bytes, places: list[int]
) -> None:
    data = b"".join(map(encode_chunk, chunks)) + LAST_CHUNK + rest
    assert decode(*cut(data, places)) == (b"".join(chunks), rest)


PARTS = st.sampled_from(
    [b"0", b"1", b"2", b"a", b"\r\n", b"\r", b"\n", b";", b" ", b"\t", b"X: y", b"x", b"\x00"]
)


@given(st.lists(PARTS, max_size=14).map(b"".join), CUTS)
def test_any_cut_gives_the_same_verdict(data: bytes, places: list[int]) -> None:
    whole = outcome(data)
    assert outcome(*cut(data, places)) == whole
    assert outcome(*bytewise(data)) == whole


@given(st.lists(PARTS, max_size=14).map(b"".join))
def test_what_is_taken_in_one_step_is_what_the_decoder_finds(data: bytes) -> None:
    payload = whole_chunk(data)
    assert not payload or outcome(data) == (payload, b"")
