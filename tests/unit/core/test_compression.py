"""Which answers are compressed, and for whom."""

from __future__ import annotations

import pytest

from synproxy.config.model import Gzip
from synproxy.core.compression import Compression, accepts_gzip
from synproxy.core.head import HeaderBlock
from synproxy.core.response import ResponseHead

JSON = (b"Content-Type", b"application/json")
LONG = (b"Content-Length", b"1000")
CHUNKS = (b"Transfer-Encoding", b"chunked")


def rules(**settings: object) -> Compression:
    return Compression(
        Gzip.model_validate(
            {"enabled": True, "min_length": 1000, "types": ["application/json"], **settings}
        )
    )


def block(*fields: tuple[bytes, bytes]) -> HeaderBlock:
    return HeaderBlock([(b"Host", b"a"), *fields], 10)


def head(
    *fields: tuple[bytes, bytes], status: int = 200, head_request: bool = False
) -> ResponseHead:
    return ResponseHead(status, b"OK", 1, fields, head_request=head_request)


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
    assert accepts_gzip(value)


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
    assert not accepts_gzip(value)


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
    compression = rules(disable=[r"MSIE [1-6]\."])
    assert compression.wanted(block(*fields), minor) is wanted
    assert compression.wanted(block(*fields), minor) is wanted  # remembered


# --- which answers


@pytest.mark.parametrize(
    "fields",
    [
        [JSON, LONG],
        [JSON, CHUNKS],
        [JSON],
        [(b"content-type", b"Application/JSON; charset=utf-8"), LONG],
        [(b"Content-Type", b"application/json ;x"), LONG],
        [(b"Content-Type", b"text/html"), LONG],
        [JSON, LONG, (b"ETag", b'W/"1"')],
        [JSON, LONG, (b"Cache-Control", b"no-store, max-age=0")],
    ],
)
def test_text_that_is_long_enough_is_compressed(fields: list[tuple[bytes, bytes]]) -> None:
    assert rules().eligible(head(*fields), None)


@pytest.mark.parametrize(
    "fields",
    [
        [JSON, (b"Content-Length", b"999")],
        [(b"Content-Type", b"image/png"), LONG],
        [LONG],
        [JSON, LONG, (b"Content-Encoding", b"br")],
        [JSON, LONG, (b"Content-Encoding", b"identity")],
        [JSON, LONG, (b"ETag", b'"1"')],
        [JSON, LONG, (b"ETag", b"1")],  # Synapse's media
        [JSON, LONG, (b"Cache-Control", b"no-transform")],
        [JSON, LONG, (b"cache-control", b"private, No-Transform")],
        [JSON, LONG, (b"Cache-Control", b"private"), (b"Cache-Control", b"no-transform")],
    ],
)
def test_what_must_not_or_need_not_change_stays(fields: list[tuple[bytes, bytes]]) -> None:
    assert not rules().eligible(head(*fields), None)


@pytest.mark.parametrize(
    ("status", "compressed"),
    [(200, True), (403, True), (404, True), (201, False), (206, False), (302, False), (500, False)],
)
def test_nginx_compresses_these_statuses(status: int, compressed: bool) -> None:
    assert rules().eligible(head(JSON, LONG, status=status), None) is compressed


def test_an_answer_without_a_body_is_not_compressed() -> None:
    assert not rules().eligible(head(JSON, LONG, head_request=True), None)
    assert not rules().eligible(head(JSON, (b"Content-Length", b"0")), None)


@pytest.mark.parametrize(("length", "compressed"), [(999, False), (1000, True)])
def test_a_length_that_is_known_counts_whatever_the_framing(length: int, compressed: bool) -> None:
    assert rules().eligible(head(JSON, CHUNKS), length) is compressed


def test_a_star_is_every_type() -> None:
    png = (b"Content-Type", b"image/png")
    assert rules(types=["*"]).eligible(head(png, LONG), None)
    assert rules(types=["*"]).eligible(head(LONG), None)
