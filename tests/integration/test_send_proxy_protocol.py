"""Connections to a pool's servers that say whose they are, and are nobody else's."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

from synproxy.wire.proxy_protocol import LOCAL_HEADER, Header, read_header
from tests.integration.harness import Peer, Proxy, ScriptedServer
from tests.support.certificates import make_certificate

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
SAYING = {"send_proxy_protocol": "v2", "keepalive": 8}


async def header_of(peer: Peer) -> Header:
    """The header at the beginning of a server's connection."""
    data = await peer.read(16)
    data += await peer.read(int.from_bytes(data[14:16], "big"))
    header = read_header(data)
    assert header is not None
    assert header.size == len(data)
    return header


async def test_each_connection_has_its_client_s_address_and_carries_one_request(
    tmp_path: Path,
) -> None:
    trusting = {"trusted_proxies": {"networks": ["127.0.0.1"]}}
    async with (
        ScriptedServer(tmp_path / "s") as server,
        Proxy.to(server, pool=SAYING, http=trusting) as proxy,
    ):
        client = await proxy.client()
        for told in (b"203.0.113.7:99", b"203.0.113.7:99", b"2001:db8::1"):
            await client.send(GET[:-2] + b"X-Forwarded-For: %b\r\n\r\n" % told)
            peer = await server.connection()
            ends = (await header_of(peer)).endpoints
            assert ends is not None
            host, port = ("203.0.113.7", 99) if told.endswith(b"99") else ("2001:db8::1", 0)
            assert (ends.host, ends.port, ends.server_port) == (host, port, proxy.port)
            assert (await peer.head()).startswith(b"GET /x ")
            await peer.answer()
            assert await client.received() == (200, b"ok")
            assert await peer.ended()
        assert proxy.idle == 0
        assert server.accepted == 3


def serve_tls_behind_a_header(
    listening: socket.socket, context: ssl.SSLContext, seen: list[bytes]
) -> None:
    """Blocking, in a thread: streams read more than the header before TLS could begin."""
    plain, _ = listening.accept()
    head = plain.recv(16, socket.MSG_WAITALL)
    seen.append(head + plain.recv(int.from_bytes(head[14:16], "big"), socket.MSG_WAITALL))
    with context.wrap_socket(plain, server_side=True) as secure:
        assert secure.recv(4096).startswith(b"GET /x ")
        secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def test_the_header_stands_before_tls(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "worker", "worker.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    tls = {"ca": str(certificate), "server_name": "worker.example"}
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.to_thread(serve_tls_behind_a_header, listening, context, seen)
        answered = asyncio.ensure_future(serving)
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        pool = {"servers": [{"address": address}], "tls": tls, **SAYING}
        routes = [{"name": "all", "location": "/", "pool": "pool"}]
        async with Proxy({"pools": {"pool": pool}, "routes": routes}) as proxy:
            client = await proxy.client(GET)
            assert await client.received() == (200, b"ok")
        await answered
    header = read_header(seen[0])
    assert header is not None
    assert header.endpoints is not None
    host, _, server_host, server_port = header.endpoints
    assert (host, server_host, server_port) == ("127.0.0.1", "127.0.0.1", proxy.port)


async def test_a_question_of_our_own_says_that_it_is_ours(tmp_path: Path) -> None:
    async with ScriptedServer(tmp_path / "s") as server:
        checked = {**SAYING, "health_check": {"interval": 1}}
        async with Proxy.to(server, pool=checked) as proxy:
            proxy.pass_time(1.2)
            peer = await server.connection()
            assert await peer.read(16) == LOCAL_HEADER
            assert (await peer.head()).startswith(b"GET /health ")


async def test_a_refused_connection_is_told_as_without(tmp_path: Path) -> None:
    pool = {"servers": [{"address": "127.0.0.1:1"}], **SAYING}
    routes = [{"name": "all", "location": "/", "pool": "pool"}]
    async with Proxy({"pools": {"pool": pool}, "routes": routes}) as proxy:
        client = await proxy.client(GET)
        assert (await client.received())[0] == 502
