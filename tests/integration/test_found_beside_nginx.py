"""What the comparison with nginx brought to light, each told in one test."""

from __future__ import annotations

from pathlib import Path

import pytest

from synproxy.core.limits import RESPONSE_HEAD
from tests.integration.harness import Proxy, ScriptedServer

GET = b"GET %b HTTP/1.1\r\nHost: example.org\r\n\r\n"


async def test_an_answer_without_a_date_gets_one(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(GET % b"/x")
        peer, _ = await server.request()
        await peer.answer()
        assert (await client.head()).count(b"\r\nDate: ") == 1


@pytest.mark.parametrize("target", [b"/%zz", b"/..", b"/%00"])
async def test_a_refused_target_ends_the_connection(sockets: Path, target: bytes) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(GET % target)
        answer = await client.to_end()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"\r\nConnection: close\r\n" in answer
        assert server.accepted == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
        b"HTTP/1.1 200 OK\r\nX-Y: %b\r\nContent-Length: 2\r\n\r\n{}" % (b"y" * RESPONSE_HEAD),
    ],
    ids=["bare line feeds", "too long"],
)
async def test_a_head_that_cannot_be_taken_is_502_at_once(sockets: Path, answer: bytes) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(GET % b"/x")
        peer, _ = await server.request()
        await peer.send(answer)
        assert (await client.received())[0] == 502
