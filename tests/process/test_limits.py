"""Limits of connections and descriptors in a process: who waits, who is turned away, and that all
is well again afterwards."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.integration.harness import WAIT, Peer, ScriptedServer, becomes_true
from tests.process.test_child_killed import children_of
from tests.support.synproxy import Synproxy

CONFIG = """\
listeners: ["127.0.0.1:@PORT@", "unix:@RUN@/clients.sock"]
access_log: off
children: 1
@LIMITS@
pools:
  pool: {servers: ["unix:@RUN@/server.sock"]}
routes:
  - {name: all, location: /, pool: pool}
  - {name: here, location: = /here, respond: {status: 404}}
"""
HERE = b"GET /here HTTP/1.1\r\nHost: example.org\r\n\r\n"
ASK = b"GET /asked HTTP/1.1\r\nHost: example.org\r\n\r\n"


class Clients:
    """Client connections, all of which are closed at the end."""

    def __init__(self, proxy: Synproxy) -> None:
        self.proxy = proxy
        self.peers: list[Peer] = []

    async def connect(self, address: str = "127.0.0.1") -> Peer:
        opened = asyncio.open_connection("127.0.0.1", self.proxy.port, local_addr=(address, 0))
        return self._keep(Peer(*await opened))

    async def connect_unix(self, path: Path) -> Peer:
        return self._keep(Peer(*await asyncio.open_unix_connection(str(path))))

    def _keep(self, peer: Peer) -> Peer:
        self.peers.append(peer)
        return peer

    async def close(self, *peers: Peer) -> None:
        for peer in peers:
            peer.writer.transport.abort()
            self.peers.remove(peer)
        await asyncio.sleep(0)


@asynccontextmanager
async def running(sockets: Path, limits: str, loop: str) -> AsyncIterator[tuple[Synproxy, Clients]]:
    with Synproxy(sockets, CONFIG, {"@LIMITS@": limits}, loop=loop) as proxy:
        clients = Clients(proxy)
        try:
            yield proxy, clients
        finally:
            await clients.close(*clients.peers)


async def is_served(peer: Peer) -> bool:
    """Asks on a connection; False: it is not taken for now."""
    await peer.send(HERE)
    status, _ = await peer.received()
    return status == 404


async def is_welcome(peer: Peer) -> bool:
    """Whether it is served, or turned away, which a reset may overtake."""
    try:
        return await is_served(peer)
    except (ConnectionError, asyncio.IncompleteReadError):
        return False


async def run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == 0


both_loops = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


@both_loops
async def test_an_address_with_too_many_connections_is_turned_away(
    sockets: Path, loop: str
) -> None:
    limits = "limits: {connections_per_address: 3, exempt: [127.0.0.9]}"
    async with running(sockets, limits, loop) as (proxy, clients):
        mine = [await clients.connect("127.0.0.5") for _ in range(3)]
        for peer in mine:
            assert await is_served(peer)
        for _ in range(5):
            peer = await clients.connect("127.0.0.5")
            status, body = await peer.received()
            assert (status, b"Too many connections" in body) == (503, True)
            assert await peer.ended()
        others = [await clients.connect(address) for address in ("127.0.0.6", *4 * ["127.0.0.9"])]
        others += [await clients.connect_unix(sockets / "clients.sock") for _ in range(4)]
        for peer in (*others, *mine):
            assert await is_served(peer)
        await clients.close(mine.pop())
        async with asyncio.timeout(WAIT):  # until it has noticed
            while not await is_welcome(await clients.connect("127.0.0.5")):
                pass
        assert proxy.log.read_text().count("turned a connection from 127.0.0.5 away") == 1


@both_loops
async def test_when_all_places_are_taken_the_idle_give_theirs_up_and_others_wait(
    sockets: Path, loop: str
) -> None:
    async with (
        ScriptedServer(sockets / "server.sock") as server,
        running(sockets, "limits: {connections: 3}", loop) as (proxy, clients),
    ):
        first = [await clients.connect() for _ in range(3)]
        held = []
        for peer in first:
            await peer.send(ASK)
            held.append((await server.request())[0])
        waiting = [await clients.connect() for _ in range(2)]
        answers = [asyncio.create_task(is_served(peer)) for peer in waiting]
        told = "3 connections, which is the limit: idle ones are closed, new ones wait"
        await becomes_true(lambda: told in proxy.log.read_text())
        assert not any(answer.done() for answer in answers)
        await held[0].answer(b"first")
        assert await first[0].received() == (200, b"first")
        assert await asyncio.wait_for(asyncio.gather(*answers), WAIT) == [True] * 2
        assert await first[0].ended()
        for one, peer in zip(held[1:], first[1:], strict=True):
            await one.answer(b"late")
            assert await peer.received() == (200, b"late")


@both_loops
async def test_without_descriptors_accepting_pauses_and_goes_on(sockets: Path, loop: str) -> None:
    """The first who connect are served all the while; who asks a server is told 503; when some have
    left, those that waited are served, too."""
    async with (
        ScriptedServer(sockets / "server.sock") as server,
        running(sockets, "", loop) as (proxy, clients),
    ):
        first = await clients.connect()
        assert await is_served(first)
        (child,) = children_of(proxy.pid)
        used = len(os.listdir(f"/proc/{child}/fd"))
        highest = max(int(name) for name in os.listdir(f"/proc/{child}/fd"))
        assert highest < used + 20
        resource.prlimit(child, resource.RLIMIT_NOFILE, (used + 20, used + 20))
        crowd = [await clients.connect() for _ in range(40)]
        answers = [asyncio.create_task(is_served(peer)) for peer in crowd]
        told = "cannot accept: Too many open files; raise LimitNOFILE"
        await becomes_true(lambda: told in proxy.log.read_text())
        assert await is_served(first)
        await first.send(ASK)
        status, body = await first.received()
        assert (status, b"retry_after_ms" in body) == (503, True)
        assert server.accepted == 0
        served = [peer for peer, answer in zip(crowd, answers, strict=True) if answer.done()]
        assert 0 < len(served) < 40
        # Whoever has been served leaves, which makes room for one that waits.
        pending = {*answers}
        while pending:
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            done = [peer for peer, one in zip(crowd, answers, strict=True) if one.done()]
            await clients.close(*(peer for peer in done if peer in clients.peers))
        assert await asyncio.gather(*answers) == [True] * 40
        await clients.close(*(peer for peer in clients.peers if peer is not first))
        await becomes_true(lambda: len(os.listdir(f"/proc/{child}/fd")) < used + 10)
        asking = asyncio.create_task(server.request())
        await first.send(ASK)
        peer, _ = await asking
        await peer.answer(b"back")
        assert await first.received() == (200, b"back")
        lines = proxy.log.read_text()
        assert lines.count("exhausted: Too many open files") == 1
        assert lines.count(told) <= 5


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
async def test_a_full_disk_costs_lines_of_the_log_and_no_request(sockets: Path) -> None:
    """The log is on a file system of 64 kB, full but for a few lines; then there is room again."""
    disk = sockets / "disk"
    disk.mkdir()
    await run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk))
    try:
        disk.chmod(0o755)
        (disk / "other").write_bytes(bytes(60 * 1024))
        config = CONFIG.replace("access_log: off", f"access_log: {{path: {disk}/log, flush: 50ms}}")
        with Synproxy(sockets, config, {"@LIMITS@": ""}) as proxy:
            clients = Clients(proxy)
            client = await clients.connect()
            for _ in range(100):
                assert await is_served(client)
            told = "No space left on device; lines are lost"
            await becomes_true(lambda: told in proxy.log.read_text())
            for _ in range(100):
                assert await is_served(client)
            (disk / "other").unlink()
            lines = (disk / "log").read_bytes()
            while (disk / "log").stat().st_size <= len(lines):
                assert await is_served(client)
                await asyncio.sleep(0.02)
            await clients.close(client)
        assert proxy.log.read_text().count(told) == 1
        written = (disk / "log").read_text().splitlines()
        assert all(line.startswith("127.0.0.1 - - [") for line in written if line)
    finally:
        await run("umount", str(disk))
