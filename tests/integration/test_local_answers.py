"""Answers that reach no server: what clients get, on which connection, and what is logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import Peer, Proxy, ScriptedServer


def request(method: bytes, target: bytes, *fields: bytes) -> bytes:
    lines = (b"%b %b HTTP/1.1" % (method, target), b"Host: example.org", *fields)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def routes(server: ScriptedServer, *more: dict[str, Any]) -> dict[str, Any]:
    return {
        "pools": {"pool": {"servers": [{"address": server.address}]}},
        "routes": [
            {"name": "read", "location": "/r", "methods": ["GET"], "pool": "pool"},
            {"name": "write", "location": "= /r/w", "methods": ["PUT", "POST"], "pool": "pool"},
            *more,
        ],
    }


async def answered(client: Peer) -> tuple[int, bytes, dict[str, Any]]:
    """Status, head and JSON of an answer."""
    head = await client.head()
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    assert b"\r\nContent-Type: application/json\r\n" in head
    assert b"\r\nAccess-Control-Allow-Origin: *\r\n" in head
    return int(head[9:12]), head, json.loads(await client.read(length))


@pytest.mark.parametrize(
    ("method", "target", "status", "allow"),
    [
        (b"POST", b"/r", 405, b"GET, HEAD"),
        (b"OPTIONS", b"/r/x", 405, b"GET, HEAD"),
        (b"DELETE", b"/r/w", 405, b"GET, HEAD, POST, PUT"),
        (b"GET", b"/elsewhere", 404, b""),
        (b"BREW", b"/elsewhere", 404, b""),
    ],
)
async def test_a_path_that_has_routes_for_other_methods_is_answered_405(
    sockets: Path, method: bytes, target: bytes, status: int, allow: bytes
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy(routes(server)) as proxy:
        client = await proxy.client()
        for _ in range(2):  # decided, then remembered; the connection lives on
            await client.send(request(method, target))
            answer = await answered(client)
            assert answer[0] == status
            assert answer[2]["errcode"] == "M_UNRECOGNIZED"
            assert (b"\r\nAllow: %b\r\n" % allow in answer[1]) == (status == 405)
        assert [record.end_reason for record in await proxy.logged(2)] == ["local"] * 2
        assert server.accepted == 0


async def test_a_route_may_ask_clients_to_come_again(sockets: Path) -> None:
    respond = {"status": 429, "retry_after": "90s"}
    busy = {"name": "busy", "location": "/busy", "respond": respond}
    async with ScriptedServer(sockets / "a") as server, Proxy(routes(server, busy)) as proxy:
        status, head, told = await answered(await proxy.client(request(b"GET", b"/busy")))
        assert status == 429
        assert b"\r\nRetry-After: 90\r\n" in head
        assert (told["errcode"], told["retry_after_ms"]) == ("M_LIMIT_EXCEEDED", 90_000)


@pytest.mark.parametrize("expect", [(), (b"Expect: 100-continue",)], ids=["", "expect"])
async def test_a_body_that_is_announced_too_large_is_not_waited_for(
    sockets: Path, expect: tuple[bytes, ...]
) -> None:
    upload = {
        "name": "upload",
        "location": "/upload",
        "pool": "pool",
        "proxy": {"client_max_body_size": 1000},
    }
    async with ScriptedServer(sockets / "a") as server, Proxy(routes(server, upload)) as proxy:
        client = await proxy.client(request(b"POST", b"/upload", b"Content-Length: 1001", *expect))
        status, head, told = await answered(client)
        assert (status, told["errcode"]) == (413, "M_TOO_LARGE")
        assert b"100 Continue" not in head
        assert server.accepted == 0


async def test_a_504_tells_a_browser_what_happened(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, proxy={"read_timeout": "5s"}) as proxy,
    ):
        client = await proxy.client(request(b"GET", b"/x"))
        await server.request()
        proxy.pass_time(6)
        status, _, told = await answered(client)
        assert (status, told["errcode"]) == (504, "M_UNKNOWN")


async def test_an_error_on_a_rendezvous_shows_its_entity_tag(sockets: Path) -> None:
    dead = ScriptedServer(sockets / "dead")
    async with Proxy.to(dead) as proxy:
        client = await proxy.client(request(b"GET", b"/_synapse/client/rendezvous/abc"))
        status, head, _ = await answered(client)
        assert status == 502
        assert b"\r\nAccess-Control-Expose-Headers: Synapse-Trace-Id, Server, ETag\r\n" in head


async def test_a_preflight_and_a_document_come_without_a_server(sockets: Path) -> None:
    document = {"m.homeserver": {"base_url": "https://matrix.example.org"}}
    dead = ScriptedServer(sockets / "dead")
    async with Proxy.to(
        dead, http={"cors_preflight": "on"}, well_known={"client": document}
    ) as proxy:
        client = await proxy.client(request(b"OPTIONS", b"/_matrix/client/v3/sync"))
        head = await client.head()
        assert head.startswith(b"HTTP/1.1 204 No Content\r\n")
        assert b"\r\nAccess-Control-Allow-Headers: X-Requested-With, Content-Type, " in head
        assert b"Content-Length" not in head
        await client.send(request(b"GET", b"/.well-known/matrix/client"))
        status, head, told = await answered(client)
        assert (status, told) == (200, document)
        assert b"\r\nCache-Control: public, max-age=3600\r\n" in head
        await client.send(request(b"HEAD", b"/.well-known/matrix/client"))
        head = await client.head()
        await client.send(request(b"POST", b"/.well-known/matrix/client"))
        status, _, told = await answered(client)
        assert (status, told["errcode"]) == (405, "M_UNRECOGNIZED")
        records = await proxy.logged(4)
        assert [(record.route, record.status, record.end_reason) for record in records] == [
            ("http.cors_preflight", 204, "local"),
            ("well_known.client", 200, "local"),
            ("well_known.client", 200, "local"),
            ("well_known.client", 405, "local"),
        ]
        assert records[1].bytes_sent > records[2].bytes_sent == 0


async def test_a_route_under_maintenance_says_when_to_come_again(sockets: Path) -> None:
    closed = {"name": "closed", "location": "/c", "pool": "pool", "maintenance": True}
    async with ScriptedServer(sockets / "a") as server:
        config = routes(server, closed)
        text = {"retry_after": "90s", "error": "Back at noon"}
        async with Proxy({**config, "maintenance": text}) as proxy:
            client = await proxy.client(request(b"GET", b"/c/x"))
            status, head, body = await answered(client)
            assert status == 503
            assert b"\r\nRetry-After: 90\r\n" in head
            assert (body["errcode"], body["error"]) == ("M_UNKNOWN", "Back at noon")
            closed["maintenance"] = False
            proxy.reload(routes=routes(server, closed)["routes"])
            await client.send(request(b"GET", b"/c/x"))
            peer, _ = await server.request()
            await peer.answer()
            assert await client.received() == (200, b"ok")
            assert [record.end_reason for record in await proxy.logged(2)] == ["local", "ok"]
