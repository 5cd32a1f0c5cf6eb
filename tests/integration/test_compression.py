"""Answers on their way through a content coding: nothing waits, and what must not change stays."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import brotli
import pytest
from backports import zstd

from tests.integration.harness import Peer, Proxy, ScriptedServer

HTTP = {
    "gzip": {"enabled": True, "min_length": 20, "types": ["application/json"]},
    "zstd": True,
    "brotli": True,
}
DECODERS: dict[bytes, Callable[[], Callable[[bytes], bytes]]] = {
    b"gzip": lambda: zlib.decompressobj(16 + zlib.MAX_WBITS).decompress,
    b"zstd": lambda: zstd.ZstdDecompressor().decompress,
    b"br": lambda: brotli.Decompressor().process,
}
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nAccept-Ranges: bytes\r\n"
BODY = b'{"next_batch":"s1","rooms":{}}' * 4


def get(accept: bytes) -> bytes:
    return b"GET /x HTTP/1.1\r\nHost: example.org\r\nAccept-Encoding: %b\r\n\r\n" % accept


async def chunk(peer: Peer) -> bytes:
    size = int((await peer.until(b"\r\n"))[:-2], 16)
    return (await peer.read(size + 2))[:-2]


@pytest.mark.parametrize("coding", DECODERS)
async def test_each_piece_can_be_read_before_the_next_one_comes(
    sockets: Path, coding: bytes
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, http=HTTP) as proxy:
        client = await proxy.client(get(coding))
        peer, _ = await server.request()
        await peer.send(JSON + b"Transfer-Encoding: chunked\r\n\r\n")
        decode = DECODERS[coding]()
        head = await client.head()
        assert b"\r\nContent-Encoding: %b\r\n" % coding in head
        assert b"\r\nVary: Accept-Encoding\r\n" in head
        assert b"Accept-Ranges" not in head
        content = decode(await chunk(client)) if coding == b"gzip" else b""
        for _ in range(3):
            await peer.send(b"%x\r\n%b\r\n" % (len(BODY), BODY))
            content = b""
            while content != BODY:
                content += decode(await chunk(client))
        await peer.send(b"0\r\n\r\n")
        while rest := await chunk(client):
            assert decode(rest) == b""


@pytest.mark.parametrize("coding", DECODERS)
async def test_an_answer_that_is_here_as_a_whole_gets_a_length(
    sockets: Path, coding: bytes
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, http=HTTP) as proxy:
        client = await proxy.client(get(coding))
        peer, _ = await server.request()
        for _ in range(2):  # the second time remembered
            await peer.send(JSON + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
            status, body = await client.received()
            assert (status, DECODERS[coding]()(body)) == (200, BODY)
            await client.send(get(coding))
            await peer.head()


@pytest.mark.parametrize(
    ("accept", "fields"),
    [
        (b"identity", b""),
        (b"gzip;q=0, zstd;q=0, br;q=0", b""),
        (b"gzip, zstd, br", b'ETag: "1"\r\n'),
        (b"gzip, zstd, br", b"ETag: 1\r\n"),
        (b"gzip, zstd, br", b"Cache-Control: no-store, no-transform\r\n"),
        (b"gzip, zstd, br", b"Content-Encoding: br\r\n"),
    ],
)
async def test_what_is_not_wanted_or_not_allowed_stays_as_it_is(
    sockets: Path, accept: bytes, fields: bytes
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, http=HTTP) as proxy:
        client = await proxy.client(get(accept))
        peer, _ = await server.request()
        await peer.send(JSON + fields + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
        head = await client.head()
        assert fields in head
        assert b"Content-Length: %d\r\n" % len(BODY) in head
        assert b"Accept-Ranges: bytes\r\n" in head
        assert await client.read(len(BODY)) == BODY


async def test_one_client_gets_each_answer_in_the_coding_it_asks_for(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, http=HTTP) as proxy:
        order = [b"zstd", b"gzip", b"br", b"zstd", b"gzip"]
        client = await proxy.client(get(order[0]))
        peer, _ = await server.request()
        for coding, following in pairwise(order):
            await peer.send(JSON + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
            _, body = await client.received()
            assert DECODERS[coding]()(body) == BODY
            await client.send(get(following))
            await peer.head()
