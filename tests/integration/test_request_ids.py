"""Ids of requests: one and the same at the client, at the server and in the log."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import Proxy, ScriptedServer

LOCAL = {"nobody": [{"deny": "all"}], "here": [{"allow": "127.0.0.1"}, {"deny": "all"}], "open": []}
GIVEN = b"3e1d2c9a-0b5f-4e6a-9d7c-1a2b3c4d5e6f"
OURS = re.compile(rb"[0-9a-f]{32}")


def field(head: bytes, name: bytes = b"X-Request-Id") -> bytes:
    """The value of a field that stands once."""
    found = re.findall(rb"(?im)^%b: (.*)\r$" % name, head)
    assert len(found) == 1, head
    return bytes(found[0])


def http(**request_id: Any) -> dict[str, Any]:
    return {"http": {"request_id": request_id or "on"}, "allowlists": LOCAL}


async def test_client_server_and_log_have_the_same_id_and_the_next_request_another(
    sockets: Path,
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, **http()) as proxy:
        client = await proxy.client()
        seen = set()
        for number in range(2):
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: %b\r\n\r\n" % GIVEN)
            if number == 0:
                peer = await server.connection()
            sent = field(await peer.head())
            await peer.answer(b"ok", b"X-Request-Id: the-server-s", b"Date: Thu")
            head = await client.head()
            await client.read(2)
            assert field(head) == sent
            assert (await proxy.logged(number + 1))[number].request_id == sent
            assert OURS.fullmatch(sent)
            assert field(head, b"Date")
            seen.add(sent)
        assert len(seen) == 2


@pytest.mark.parametrize(
    ("trust", "given", "kept"),
    [
        ("here", GIVEN, True),
        ("here", b"a" * 128, True),
        ("here", b"a" * 129, False),
        ("here", b"two words", False),
        ("here", b'"quoted"', False),
        ("nobody", GIVEN, False),
        ("open", GIVEN, False),
        (None, GIVEN, False),
    ],
)
async def test_an_id_is_kept_if_it_is_well_formed_and_comes_from_somebody_we_trust(
    sockets: Path, trust: str | None, given: bytes, kept: bool
) -> None:
    config = http(header="X-Trace", trust=trust)
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, **config) as proxy:
        client = await proxy.client(b"GET / HTTP/1.1\r\nHost: a\r\nx-trace: %b\r\n\r\n" % given)
        peer, head = await server.request()
        await peer.answer()
        sent = field(head, b"X-Trace")
        assert (sent == given) == kept
        assert kept or OURS.fullmatch(sent)
        assert field(await client.head(), b"X-Trace") == sent


async def test_it_is_the_proxy_in_front_that_is_trusted_and_not_its_client(sockets: Path) -> None:
    config = http(trust="here")
    config["http"]["trusted_proxies"] = ["127.0.0.1"]
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, **config) as proxy:
        await proxy.client(
            b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n"
            b"X-Request-Id: %b\r\n\r\n" % GIVEN
        )
        peer, head = await server.request()
        await peer.answer()
        assert field(head, b"X-Forwarded-For") == b"203.0.113.9"
        assert field(head) == GIVEN


async def test_answers_made_here_have_one(sockets: Path) -> None:
    config = {"routes": [], **http()}
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, **config) as proxy:
        client = await proxy.client(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await client.head()
        assert head.startswith(b"HTTP/1.1 404 ")
        assert field(head) == (await proxy.logged())[0].request_id


async def test_an_answer_in_doubt_has_one(sockets: Path) -> None:
    body = b'{"errcode":"M_NOT_FOUND"}'
    async with ScriptedServer(sockets / "a") as worker, ScriptedServer(sockets / "b") as main:
        config = {
            "pools": {
                "worker": {"servers": [{"address": worker.address}], "unrecognized": "main"},
                "main": {"servers": [{"address": main.address}]},
            },
            "routes": [{"name": "all", "location": "/", "pool": "worker"}],
            **http(),
        }
        async with Proxy(config) as proxy:
            client = await proxy.client(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            peer, _ = await worker.request()
            await peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n")
            await peer.send(b"Content-Length: %d\r\n\r\n" % len(body))
            await peer.send(body)
            assert OURS.fullmatch(field(await client.head()))


@pytest.mark.parametrize("request_id", ["off", {"respond": "off"}])
async def test_a_client_is_told_only_if_it_is_asked_for(
    sockets: Path, request_id: str | dict[str, str]
) -> None:
    config = {"http": {"request_id": request_id}}
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, **config) as proxy:
        client = await proxy.client(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        peer, head = await server.request()
        await peer.answer(b"ok", b"X-Request-Id: mine")
        assert (b"X-Request-Id" in head) == (request_id != "off")
        assert field(await client.head()) == b"mine"


async def test_a_reload_turns_it_on_for_connections_that_are_open(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        peer, head = await server.request()
        await peer.answer()
        assert b"X-Request-Id" not in await client.head()
        await client.read(2)
        proxy.reload(http={"request_id": "on"})
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        peer, head = await server.request()
        await peer.answer()
        assert field(await client.head()) == field(head)
