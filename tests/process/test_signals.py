"""Signals of a running synproxy: drain, reload, reopen the logs."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.harness import Peer, ScriptedServer, becomes_true
from tests.support.synproxy import Synproxy

CONFIG = """\
listeners: ["127.0.0.1:@PORT@"]
access_log: {path: @RUN@/access.log, format: combined, flush: 0s}
pools:
  sync: {servers: ["unix:@RUN@/sync.sock"]}
routes:
  - {name: sync, location: /sync, pool: sync}
  - {name: version, location: /version, respond: {status: @STATUS@}}
"""
GET_SYNC = b"GET /sync HTTP/1.1\r\nHost: example.org\r\n\r\n"
GET_VERSION = b"GET /version HTTP/1.1\r\nHost: example.org\r\n\r\n"


def synproxy(sockets: Path) -> Synproxy:
    return Synproxy(sockets, CONFIG, {"@STATUS@": "404"})


@pytest.fixture
async def peers() -> AsyncIterator[list[Peer]]:
    """Client connections, closed when the test is over."""
    opened: list[Peer] = []
    yield opened
    for peer in opened:
        peer.writer.transport.abort()
        with suppress(ConnectionError):
            await peer.writer.wait_closed()


async def client(peers: list[Peer], proxy: Synproxy, request: bytes) -> Peer:
    peer = Peer(*await asyncio.open_connection("127.0.0.1", proxy.port))
    peers.append(peer)
    await peer.send(request)
    return peer


async def status(peers: list[Peer], proxy: Synproxy) -> int:
    return (await (await client(peers, proxy, GET_VERSION)).received())[0]


async def unix_status(peers: list[Peer], path: Path) -> int:
    peer = Peer(*await asyncio.open_unix_connection(str(path)))
    peers.append(peer)
    await peer.send(GET_VERSION)
    return (await peer.received())[0]


async def in_log(proxy: Synproxy, text: str) -> None:
    """Waits until the process has said something."""
    await becomes_true(lambda: text in proxy.log.read_text())


async def test_sigterm_lets_a_held_sync_end_and_takes_no_new_connection(
    sockets: Path, peers: list[Peer]
) -> None:
    async with ScriptedServer(sockets / "sync.sock") as server:
        with synproxy(sockets) as proxy:
            held = await client(peers, proxy, GET_SYNC)
            idle = await client(peers, proxy, GET_VERSION)
            await idle.received()
            worker, _ = await server.request()
            os.kill(proxy.pid, signal.SIGTERM)
            assert await idle.to_end() == b""
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", proxy.port)
            await worker.answer(b"events")
            assert b"\r\nConnection: close\r\n" in await held.head()
            assert await held.to_end() == b"events"
            assert await asyncio.to_thread(proxy.wait) == 0


async def test_a_second_sigterm_ends_at_once(sockets: Path, peers: list[Peer]) -> None:
    async with ScriptedServer(sockets / "sync.sock") as server:
        with synproxy(sockets) as proxy:
            held = await client(peers, proxy, GET_SYNC)
            await server.request()
            os.kill(proxy.pid, signal.SIGTERM)
            await in_log(proxy, "draining 1 connections")
            os.kill(proxy.pid, signal.SIGTERM)
            assert await held.ended()
            assert await asyncio.to_thread(proxy.wait) == 0


async def test_sighup_reads_the_configuration_again_and_drops_nothing(
    sockets: Path, peers: list[Peer]
) -> None:
    async with ScriptedServer(sockets / "sync.sock") as server:
        with synproxy(sockets) as proxy:
            held = await client(peers, proxy, GET_SYNC)
            worker, _ = await server.request()
            assert await status(peers, proxy) == 404
            proxy.file.write_text(proxy.file.read_text().replace("status: 404", "status: 410"))
            os.kill(proxy.pid, signal.SIGHUP)
            await in_log(proxy, "reloaded: ")
            assert await status(peers, proxy) == 410
            await worker.answer(b"events")
            assert await held.received() == (200, b"events")


async def test_a_bad_configuration_leaves_the_old_one_running(
    sockets: Path, peers: list[Peer]
) -> None:
    with synproxy(sockets) as proxy:
        proxy.file.write_text("listeners: nonsense\nroute: []\n")
        os.kill(proxy.pid, signal.SIGHUP)
        await in_log(proxy, "reload failed, the old configuration stays")
        await in_log(proxy, "synproxy.yaml:2:1:")
        assert await status(peers, proxy) == 404


async def test_a_listener_that_cannot_be_opened_leaves_the_old_configuration_running(
    sockets: Path, peers: list[Peer]
) -> None:
    with synproxy(sockets) as proxy:
        (sockets / "file").write_text("not a socket")
        text = proxy.file.read_text().replace(
            "listeners: [", f'listeners: ["unix:{sockets}/new.sock", "unix:{sockets}/file", '
        )
        proxy.file.write_text(text.replace("status: 404", "status: 410"))
        os.kill(proxy.pid, signal.SIGHUP)
        await in_log(proxy, "reload failed")
        assert await status(peers, proxy) == 404
        assert not (sockets / "new.sock").exists()


async def test_a_reload_opens_and_closes_listeners(sockets: Path, peers: list[Peer]) -> None:
    with synproxy(sockets) as proxy:
        text = proxy.file.read_text()
        proxy.file.write_text(
            text.replace(f'"127.0.0.1:{proxy.port}"', f'"unix:{sockets}/new.sock"')
        )
        os.kill(proxy.pid, signal.SIGHUP)
        await in_log(proxy, "reloaded: ")
        assert await unix_status(peers, sockets / "new.sock") == 404
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)


async def test_sigusr1_reopens_the_access_log(sockets: Path, peers: list[Peer]) -> None:
    log = sockets / "access.log"
    with synproxy(sockets) as proxy:
        await status(peers, proxy)
        await becomes_true(lambda: log.read_text() != "")
        log.rename(sockets / "access.log.1")
        os.kill(proxy.pid, signal.SIGUSR1)
        await becomes_true(log.exists)
        await status(peers, proxy)
        await becomes_true(lambda: "GET /version" in log.read_text())
        assert (sockets / "access.log.1").read_text().count("GET /version") == 1


async def test_sigusr1_reopens_the_access_log_of_children_that_only_start(sockets: Path) -> None:
    log = str(sockets / "access.log")
    with Synproxy(sockets, f"{CONFIG}children: 3\n", {"@STATUS@": "404"}) as proxy:
        await becomes_true(lambda: [log in files for files in open_files(proxy.pid)] == [True] * 3)
        os.rename(log, f"{log}.1")
        os.kill(proxy.pid, signal.SIGUSR1)
        await becomes_true(lambda: all(log in files for files in open_files(proxy.pid)))
        assert not any(f"{log}.1" in files for files in open_files(proxy.pid))


def open_files(supervisor: int) -> list[list[str]]:
    """Of each child."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return [list(map(target, Path(f"/proc/{pid}/fd").iterdir())) for pid in children]


def target(descriptor: Path) -> str:
    try:
        return os.readlink(descriptor)
    except FileNotFoundError:  # closed meanwhile
        return ""


async def test_a_socket_that_nobody_listens_on_is_replaced(
    sockets: Path, peers: list[Peer]
) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(sockets / "proxy.sock"))
    stale.close()
    config = CONFIG.replace("listeners: [", f'listeners: ["unix:{sockets}/proxy.sock", ')
    with Synproxy(sockets, config, {"@STATUS@": "404"}):
        assert await unix_status(peers, sockets / "proxy.sock") == 404
    assert not (sockets / "proxy.sock").exists()
