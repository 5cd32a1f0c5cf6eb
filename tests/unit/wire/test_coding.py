"""Content codings as streams: what went in can be read at once, and all of it in the end."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from synproxy.wire import coding
from synproxy.wire.coding import MakeEncoder

Decode = Callable[[bytes], bytes]


def gunzip() -> Decode:
    return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress


def unzstd() -> Decode:
    return zstd.ZstdDecompressor().decompress


def unbrotli() -> Decode:
    process: Decode = brotli.Decompressor().process
    return process


CASES = [
    *(pytest.param(coding.gzip(level), gunzip, id=f"gzip-{level}") for level in range(1, 10)),
    *(pytest.param(coding.zstd(level), unzstd, id=f"zstd-{level}") for level in range(1, 7)),
    *(pytest.param(coding.brotli(level), unbrotli, id=f"br-{level}") for level in range(5)),
]


@pytest.mark.parametrize(("make", "decoder"), CASES)
@given(reads=st.lists(st.lists(st.binary(max_size=200), max_size=3), max_size=5))
def test_every_read_can_be_decoded_when_it_was_sent(
    make: MakeEncoder, decoder: Callable[[], Decode], reads: list[list[bytes]]
) -> None:
    encode, decode = make(), decoder()
    for pieces in reads:
        assert decode(b"".join(encode(pieces, False))) == b"".join(pieces)
    encode, decode = make(), decoder()
    whole = b"".join(piece for pieces in reads for piece in pieces)
    sent = b"".join(b"".join(encode(pieces, False)) for pieces in reads)
    assert decode(sent + b"".join(encode([], True))) == whole


@pytest.mark.parametrize(("make", "decoder"), CASES)
def test_a_long_answer_becomes_shorter(make: MakeEncoder, decoder: Callable[[], Decode]) -> None:
    text = b'{"type":"m.room.message","sender":"@alice:example.org"}' * 20_000
    sent = b"".join(make()([text[:100_000], text[100_000:]], True))
    assert len(sent) < len(text) / 20
    assert decoder()(sent) == text


def test_gzip_is_whole_with_its_sum() -> None:
    assert gzip.decompress(b"".join(coding.gzip(2)()([b"abc"], True))) == b"abc"


def test_without_isa_l_zlib_makes_gzip(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    encode = coding.gzip(2)()
    expected = zlib.compressobj(2, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    assert (
        b"".join(encode([b"abc" * 50], True)) == expected.compress(b"abc" * 50) + expected.flush()
    )
