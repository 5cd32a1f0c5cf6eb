"""A child that is killed: its clients lose what it held, and nothing else is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.integration.harness import Peer, ScriptedServer, becomes_true
from tests.support.synproxy import Synproxy

CONFIG = """\
listeners: ["127.0.0.1:@PORT@"]
access_log: {path: "@RUN@/access.log", flush: 100ms}
children: 1
pools:
  pool: {servers: ["unix:@RUN@/server.sock"]}
routes:
  - {name: all, location: /, pool: pool}
"""
REQUEST = b"%b /%b HTTP/1.1\r\nHost: example.org\r\nContent-Length: 0\r\n\r\n"


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def asked(proxy: Synproxy, method: bytes, path: bytes) -> Peer:
    peer = Peer(*await asyncio.open_connection("127.0.0.1", proxy.port))
    await peer.send(REQUEST % (method, path))
    return peer


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_a_killed_child_takes_its_requests_with_it_and_nothing_is_sent_twice(
    sockets: Path, loop: str
) -> None:
    log = sockets / "access.log"
    async with ScriptedServer(sockets / "server.sock") as server:
        with Synproxy(sockets, CONFIG, loop=loop) as proxy:
            clients, held = [], []
            for method in (b"GET", b"POST"):
                clients.append(await asked(proxy, method, b"held"))
                held.append((await server.request())[0])
            (child,) = children_of(proxy.pid)
            os.kill(child, signal.SIGKILL)
            for peer in (*clients, *held):
                assert await peer.ended()
            client = await asked(proxy, b"POST", b"next")
            peer, head = await server.request()
            assert head.startswith(b"POST /next ")
            await peer.answer(b"by the next child")
            assert await client.received() == (200, b"by the next child")
            assert server.accepted == 3
            await becomes_true(lambda: "/next" in log.read_text())
            assert "/held" not in log.read_text()
            assert f"child {child} was ended by SIGKILL" in proxy.log.read_text()
            for peer in (*clients, client):
                peer.close()
                await peer.writer.wait_closed()
