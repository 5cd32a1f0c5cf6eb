"""Which answers are compressed, and for whom."""

from __future__ import annotations

import pytest

from synproxy.config.model import Gzip
from synproxy.core.compression import Compression, preferred
from synproxy.core.head import HeaderBlock
from synproxy.wire.coding import Encoder
from tests.support.answers import head_bytes, is_compressible, read

JSON = b"Content-Type: application/json"
LONG = b"Content-Length: 1000"
CHUNKS = b"Transfer-Encoding: chunked"


def make(**settings: object) -> Compression:
    return Compression(
        Gzip.model_validate(
            {"enabled": True, "min_length": 1000, "types": ["application/json"], **settings}
        ),
        [(b"zstd", _encoder), (b"gzip", _encoder)],
    )


def _encoder() -> Encoder:
    raise AssertionError("nothing is compressed here")


def block(*fields: tuple[bytes, bytes]) -> HeaderBlock:
    return HeaderBlock([(b"Host", b"a"), *fields], 10)


def compressed(
    *fields: bytes,
    status: int = 200,
    head_request: bool = False,
    length: int | None = None,
    rules: Compression | None = None,
) -> bool:
    head = read(head_bytes(*fields, status=status), head_request=head_request)
    return is_compressible(rules or make(), head, length)


# --- what the client accepts (RFC 9110 section 12.5.3)


@pytest.mark.parametrize(
    "value",
    [
        b"gzip",
        b"GZip",
        b"x-gzip",
        b"*",
        b"deflate, gzip;q=1.0, *;q=0.5",
        b"br;q=1, gzip;q=0.001",
        b"gzip; q=0.5",
        b"gzip ;q=1",
        b"gzip;Q=1.000",
        b"identity, *",
        b"*;q=0, gzip",
        b",,gzip",
    ],
)
def test_who_takes_gzip_gets_it(value: bytes) -> None:
    assert preferred(value, [b"gzip"]) == b"gzip"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"br, deflate",
        b"gzipped",
        b"identity",
        b"gzip;q=0",
        b"gzip;q=0.000",
        b"gzip; q=0, *",
        b"*;q=0",
        b"gzip;q=2",
        b"gzip;q=",
        b"gzip;q=0.0001",
        b"gzip;level=9",
        b"identity;q=1, *;q=0",
    ],
)
def test_who_does_not_take_gzip_does_not_get_it(value: bytes) -> None:
    assert preferred(value, [b"gzip"]) == b""


@pytest.mark.parametrize(
    ("fields", "minor", "wanted"),
    [
        ([(b"Accept-Encoding", b"gzip")], 1, True),
        ([(b"Accept-Encoding", b"gzip")], 0, False),
        ([(b"Accept-Encoding", b"gzip"), (b"Via", b"1.1 a")], 1, False),
        ([(b"Accept-Encoding", b"br")], 1, False),
        ([], 1, False),
        ([(b"Accept-Encoding", b"gzip"), (b"User-Agent", b"MSIE 6.0")], 1, False),
        ([(b"Accept-Encoding", b"gzip"), (b"User-Agent", b"MSIE 7.0")], 1, True),
    ],
)
def test_the_request_decides_as_in_nginx(
    fields: list[tuple[bytes, bytes]], minor: int, wanted: bool
) -> None:
    compression = make(disable=[r"MSIE [1-6]\."])
    for _ in range(2):  # the second time remembered
        assert (compression.wanted(block(*fields), minor) is not None) is wanted


@pytest.mark.parametrize(
    ("accepted", "best"),
    [
        (b"gzip, deflate, br, zstd", b"zstd"),
        (b"gzip, deflate, br", b"br"),
        (b"gzip, deflate", b"gzip"),
        (b"gzip;q=1.0, br;q=0.9, zstd;q=0.8", b"gzip"),
        (b"gzip;q=0.5, *;q=0.1", b"gzip"),
        (b"gzip;q=0.1, *;q=0.5", b"zstd"),
        (b"*, zstd;q=0", b"br"),
        (b"ZSTD", b"zstd"),
        (b"deflate", b""),
        (b"", b""),
    ],
)
def test_the_greatest_weight_counts_and_then_our_order(accepted: bytes, best: bytes) -> None:
    assert preferred(accepted, [b"zstd", b"br", b"gzip"]) == best


# --- which answers


@pytest.mark.parametrize(
    "fields",
    [
        [JSON, LONG],
        [JSON, CHUNKS],
        [JSON],
        [b"content-type: Application/JSON; charset=utf-8", LONG],
        [b"Content-Type: application/json ;x", LONG],
        [b"Content-Type: text/html", LONG],
        [JSON, LONG, b'ETag: W/"1"'],
        [JSON, LONG, b"Cache-Control: no-store, max-age=0"],
    ],
)
def test_text_that_is_long_enough_is_compressed(fields: list[bytes]) -> None:
    assert compressed(*fields)


@pytest.mark.parametrize(
    "fields",
    [
        [JSON, b"Content-Length: 999"],
        [b"Content-Type: image/png", LONG],
        [LONG],
        [JSON, LONG, b"Content-Encoding: br"],
        [JSON, LONG, b"Content-Encoding: identity"],
        [JSON, LONG, b'ETag: "1"'],
        [JSON, LONG, b"ETag: 1"],  # Synapse's media
        [JSON, LONG, b"Cache-Control: no-transform"],
        [JSON, LONG, b"cache-control: private, No-Transform"],
        [JSON, LONG, b"Cache-Control: private", b"Cache-Control: no-transform"],
    ],
)
def test_what_must_not_or_need_not_change_stays(fields: list[bytes]) -> None:
    assert not compressed(*fields)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, True), (403, True), (404, True), (201, False), (206, False), (302, False), (500, False)],
)
def test_nginx_compresses_these_statuses(status: int, expected: bool) -> None:
    assert compressed(JSON, LONG, status=status) is expected


def test_an_answer_without_a_body_is_not_compressed() -> None:
    assert not compressed(JSON, LONG, head_request=True)
    assert not compressed(JSON, b"Content-Length: 0")


@pytest.mark.parametrize(("length", "expected"), [(999, False), (1000, True)])
def test_a_length_that_is_known_counts_whatever_the_framing(length: int, expected: bool) -> None:
    assert compressed(JSON, CHUNKS, length=length) is expected


def test_a_star_is_every_type() -> None:
    png = b"Content-Type: image/png"
    assert compressed(png, LONG, rules=make(types=["*"]))
    assert compressed(LONG, rules=make(types=["*"]))


def test_the_shapes_say_what_was_done() -> None:
    answer = read(head_bytes(JSON, b"Accept-Ranges: bytes", b"X-A: 1", LONG))
    plain, zstd, packed = make().shapes(answer, -1)
    assert zstd.after == packed.after.replace(b"gzip", b"zstd")
    assert plain.before == answer.shape.before
    assert plain.after == b"Vary: Accept-Encoding\r\n"
    assert packed.before == answer.shape.before.replace(b"Accept-Ranges: bytes\r\n", b"")
    assert packed.after == b"Vary: Accept-Encoding\r\nContent-Encoding: gzip\r\n"
