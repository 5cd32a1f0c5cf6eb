"""Balancers and proxies before us say who the client is: in the log, in fields, at allowlists."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from synproxy.config.certificates import read_pems
from synproxy.config.model import Listener
from synproxy.runtime.accepting import Accepting
from synproxy.wire.proxy_protocol import LOCAL_HEADER, Endpoints, header_v2
from tests.integration.harness import Peer, Proxy, ScriptedServer, becomes_true
from tests.integration.http2 import Http2Client
from tests.support.certificates import make_certificate

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\r\n"
V2 = header_v2(Endpoints("203.0.113.7", 40000, "192.0.2.1", 443))
ECHO = {
    "X-Remote": "$remote_addr:$remote_port",
    "X-Socket": "$realip_remote_addr",
    "X-Proxied": "$proxy_protocol_addr:$proxy_protocol_port",
    "X-Scheme": "$scheme",
    "X-Forwarded-For": "$remote_addr",
}
ONLY_HERE = {
    "allowlists": {"local": {"rules": [{"allow": "127.0.0.1"}, {"deny": "all"}]}},
    "routes": [
        {"name": "admin", "location": "/admin", "pool": "pool", "allowlists": ["local"]},
        {"name": "all", "location": "/", "pool": "pool"},
    ],
}


@asynccontextmanager
async def proxy_before(
    server: ScriptedServer, listener: dict[str, Any], **config: Any
) -> AsyncIterator[Proxy]:
    """A proxy whose listener is as configured; its clients connect to that."""
    async with Proxy.to(server, proxy={"set_header": ECHO}, **config) as proxy:
        model = Listener.model_validate({"listen": "127.0.0.1:0", **listener})
        pems = read_pems(model.tls.certificates) if model.tls is not None else {}
        accepting = Accepting(model, proxy.handler, pems)
        listening = await asyncio.get_running_loop().create_server(
            accepting.connection, "127.0.0.1", 0
        )
        proxy.port = listening.sockets[0].getsockname()[1]
        yield proxy
        listening.close()


def field(head: bytes, name: bytes) -> bytes:
    _, found, rest = head.partition(b"\r\n" + name + b": ")
    return rest.partition(b"\r\n")[0] if found else b""


BALANCED: dict[str, Any] = {"proxy_protocol": {"networks": ["127.0.0.0/8"]}}


@pytest.mark.parametrize(
    ("header", "client", "proxied"),
    [
        (V1, b"203.0.113.7:40000", b"203.0.113.7:40000"),
        (V2, b"203.0.113.7:40000", b"203.0.113.7:40000"),
        (LOCAL_HEADER, b"127.0.0.1:", b":"),
        (b"PROXY UNKNOWN\r\n", b"127.0.0.1:", b":"),
    ],
)
async def test_a_balancer_says_who_the_client_is(
    header: bytes, client: bytes, proxied: bytes, tmp_path: Path
) -> None:
    async with (
        ScriptedServer(tmp_path / "s") as server,
        proxy_before(server, BALANCED) as proxy,
    ):
        connection = await proxy.client(header + GET)
        peer, head = await server.request()
        assert field(head, b"X-Remote").startswith(client)
        assert field(head, b"X-Forwarded-For") == client.partition(b":")[0]
        assert field(head, b"X-Socket") == b"127.0.0.1"
        assert field(head, b"X-Proxied") == proxied
        await peer.answer()
        assert await connection.received() == (200, b"ok")
        (record,) = await proxy.logged()
        assert record.remote_addr == client.partition(b":")[0]


@pytest.mark.parametrize("header", [V1, V2])
async def test_the_header_may_come_byte_by_byte(header: bytes, tmp_path: Path) -> None:
    async with (
        ScriptedServer(tmp_path / "s") as server,
        proxy_before(server, BALANCED) as proxy,
    ):
        connection = await proxy.client()
        for at in range(len(header)):
            await connection.send(header[at : at + 1])
            await asyncio.sleep(0)
        await connection.send(GET)
        peer, head = await server.request()
        assert field(head, b"X-Remote") == b"203.0.113.7:40000"
        await peer.answer()
        assert await connection.received() == (200, b"ok")


async def test_the_header_comes_before_tls(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "edge", "edge.example")
    pair = {"certificate": str(certificate), "key": str(key)}
    listener = {**BALANCED, "tls": {"certificates": [pair]}}
    async with ScriptedServer(tmp_path / "s") as server, proxy_before(server, listener) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(V2)
        await writer.drain()
        await writer.start_tls(
            ssl.create_default_context(cafile=str(certificate)), server_hostname="edge.example"
        )
        writer.write(GET)
        peer, head = await server.request()
        assert field(head, b"X-Remote") == b"203.0.113.7:40000"
        assert field(head, b"X-Scheme") == b"https"
        await peer.answer(b"x" * 300_000)
        connection = Peer(reader, writer)
        assert await connection.received() == (200, b"x" * 300_000)
        writer.close()


@pytest.mark.parametrize("over_tls", [False, True])
async def test_the_header_comes_before_http_2(over_tls: bool, tmp_path: Path) -> None:
    """Of every stream; chosen by prior knowledge, and by ALPN."""
    certificate, key = make_certificate(tmp_path, "edge", "edge.example")
    listener: dict[str, Any] = {**BALANCED, "http2": True}
    if over_tls:
        pair = {"certificate": str(certificate), "key": str(key)}
        listener["tls"] = {"certificates": [pair]}
    async with ScriptedServer(tmp_path / "s") as server, proxy_before(server, listener) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(V2)
        if over_tls:
            context = ssl.create_default_context(cafile=str(certificate))
            context.set_alpn_protocols(["h2"])
            await writer.drain()
            await writer.start_tls(context, server_hostname="edge.example")
        client = await Http2Client(Peer(reader, writer)).begin(None)
        peer = None
        for path in (b"/first", b"/second"):
            stream = await client.ask(path)
            peer = peer or await server.connection()
            head = await peer.head()
            assert field(head, b"X-Remote") == b"203.0.113.7:40000"
            assert field(head, b"X-Socket") == b"127.0.0.1"
            assert field(head, b"X-Scheme") == (b"https" if over_tls else b"http")
            await peer.answer()
            assert await client.answer(stream) == (200, b"ok")
        assert {record.remote_addr for record in await proxy.logged(2)} == {b"203.0.113.7"}
        writer.close()


@pytest.mark.parametrize(
    ("networks", "sent", "reason"),
    [
        (["10.0.0.0/8"], V1 + GET, "it is not one of the balancers"),
        (["127.0.0.1"], GET, "no PROXY protocol header"),
        (["127.0.0.1"], b"\x16\x03\x01\x02\x00\x01\x00\x01", "no PROXY protocol header"),
        (["127.0.0.1"], b"PROXY TCP4 x\r\n" + GET, "a broken line"),
    ],
)
async def test_who_does_not_begin_with_a_header_is_refused(
    networks: list[str],
    sent: bytes,
    reason: str,
    tmp_path: Path,
    told: pytest.LogCaptureFixture,
) -> None:
    listener = {"proxy_protocol": {"networks": networks}}
    async with ScriptedServer(tmp_path / "s") as server, proxy_before(server, listener) as proxy:
        connection = await proxy.client(sent)
        assert await connection.ended()
        assert server.accepted == 0
        assert not proxy.handler.connections
    (line,) = [r.getMessage() for r in told.records if r.name == "synproxy.proxy_protocol"]
    assert line.startswith("127.0.0.1:0: refused a connection from 127.0.0.1: ")
    assert reason in line


async def test_a_balancer_s_look_at_the_port_is_no_news(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A check resets its connection, perhaps before it is accepted: nobody knows whose it was."""
    async with ScriptedServer(tmp_path / "s") as server, proxy_before(server, BALANCED) as proxy:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", proxy.port)) as looking:
                looking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection = await proxy.client(V2 + GET)
        peer, _ = await server.request()
        await peer.answer()
        assert await connection.received() == (200, b"ok")
        assert len(proxy.handler.connections) == 1
    assert not [one for one in caplog.records if one.name == "synproxy.proxy_protocol"]


async def test_a_header_has_to_come_in_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        ScriptedServer(tmp_path / "s") as server,
        proxy_before(server, BALANCED, http={"client_header_timeout": 5}) as proxy,
    ):
        connection = await proxy.client(V2[:20])
        await becomes_true(lambda: len(proxy.handler.connections) == 1)
        with caplog.at_level(logging.WARNING, "synproxy.proxy_protocol"):
            proxy.pass_time(6)
        assert await connection.ended()
    assert "no PROXY protocol header within 5 s" in caplog.text


# --- what proxies say in fields

TRUSTING: dict[str, Any] = {"http": {"trusted_proxies": {"networks": ["127.0.0.1", "10.0.0.0/8"]}}}


def get(target: bytes = b"/x", *fields: bytes) -> bytes:
    return b"\r\n".join((b"GET %b HTTP/1.1" % target, b"Host: a", *fields, b"", b""))


async def test_each_request_of_a_connection_has_its_own_client(tmp_path: Path) -> None:
    """A proxy sends the requests of many clients over one connection."""
    async with ScriptedServer(tmp_path / "s") as server, proxy_before(server, {}, **TRUSTING) as p:
        connection = await p.client()
        peer = None
        said = (b"203.0.113.7", b"203.0.113.7", b"203.0.113.8, 10.0.0.1", b"", b"203.0.113.7")
        clients = (b"203.0.113.7", b"203.0.113.7", b"203.0.113.8", b"127.0.0.1", b"203.0.113.7")
        for told, client in zip(said, clients, strict=True):
            await connection.send(get(b"/x", *([b"X-Forwarded-For: " + told] if told else [])))
            if peer is None:
                peer, head = await server.request()
            else:
                head = await peer.head()
            assert field(head, b"X-Forwarded-For") == client
            assert head.count(b"X-Forwarded-For") == 1
            assert field(head, b"X-Socket") == b"127.0.0.1"
            await peer.answer()
            assert await connection.received() == (200, b"ok")
        assert [record.remote_addr for record in await p.logged(5)] == list(clients)


async def test_an_allowlist_judges_the_client_and_not_the_proxy(tmp_path: Path) -> None:
    config = {**TRUSTING, **ONLY_HERE}
    async with ScriptedServer(tmp_path / "s") as server, proxy_before(server, {}, **config) as p:
        connection = await p.client(get(b"/admin", b"X-Forwarded-For: 127.0.0.1, 203.0.113.7"))
        assert (await connection.received())[0] == 403
        assert server.accepted == 0


async def test_who_is_not_trusted_is_not_believed(tmp_path: Path) -> None:
    config = {"http": {"trusted_proxies": {"networks": ["10.0.0.1"]}}}
    async with ScriptedServer(tmp_path / "s") as server, proxy_before(server, {}, **config) as p:
        told = b"X-Forwarded-For: 203.0.113.7", b"X-Forwarded-Proto: https"
        await p.client(get(b"/x", *told))
        _, head = await server.request()
        assert field(head, b"X-Forwarded-For") == b"127.0.0.1"
        assert field(head, b"X-Scheme") == b"http"


async def test_the_scheme_of_the_client_ends_a_redirect(tmp_path: Path) -> None:
    listener = {"redirect_https": True}
    async with (
        ScriptedServer(tmp_path / "s") as server,
        proxy_before(server, listener, **TRUSTING) as proxy,
    ):
        connection = await proxy.client(get(b"/x", b"X-Forwarded-Proto: http"))
        assert (await connection.received())[0] == 301
        await connection.send(get(b"/x", b"X-Forwarded-Proto: https"))
        peer, head = await server.request()
        assert field(head, b"X-Scheme") == b"https"
        await peer.answer()
        assert (await connection.received())[0] == 200
        assert [record.scheme for record in await proxy.logged(2)] == [b"http", b"https"]


async def test_a_reload_that_trusts_nobody_believes_nobody(tmp_path: Path) -> None:
    async with ScriptedServer(tmp_path / "s") as server, proxy_before(server, {}, **TRUSTING) as p:
        request = get(b"/x", b"X-Forwarded-For: 203.0.113.7")
        connection = await p.client(request)
        peer, _ = await server.request()
        await peer.answer()
        assert (await connection.received())[0] == 200
        p.reload(http={})
        await connection.send(request)
        _, head = await server.request()
        assert field(head, b"X-Remote").startswith(b"127.0.0.1:")
        assert not field(head, b"X-Remote").endswith(b":")


async def test_a_head_that_is_refused_is_the_proxy_s(tmp_path: Path) -> None:
    async with ScriptedServer(tmp_path / "s") as server, proxy_before(server, {}, **TRUSTING) as p:
        connection = await p.client(get(b"/x", b"X-Forwarded-For: 203.0.113.7"))
        peer, _ = await server.request()
        await peer.answer()
        assert (await connection.received())[0] == 200
        await connection.send(b"GET  / HTTP/1.1\r\n\r\n")
        assert (await connection.received())[0] == 400
        records = await p.logged(2)
        assert [record.remote_addr for record in records] == [b"203.0.113.7", b"127.0.0.1"]


async def test_a_balancer_and_a_proxy_behind_it_go_together(tmp_path: Path) -> None:
    async with (
        ScriptedServer(tmp_path / "s") as server,
        proxy_before(server, BALANCED, **TRUSTING) as proxy,
    ):
        header = header_v2(Endpoints("10.0.0.9", 1, "10.0.0.10", 2))
        await proxy.client(header + get(b"/x", b"X-Forwarded-For: 203.0.113.7:99"))
        _, head = await server.request()
        assert field(head, b"X-Remote") == b"203.0.113.7:99"
        assert field(head, b"X-Proxied") == b"10.0.0.9:1"
