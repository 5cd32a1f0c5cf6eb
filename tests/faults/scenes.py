"""How a server fails, step by step. Each step waits for what the other side did."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass
from typing import Final, cast

from tests.faults.peers import BusyServer, Client, TcpServer, servers_of
from tests.faults.requests import GET, Kind
from tests.integration.harness import Peer, Proxy, ScriptedServer, becomes_true

CONNECT_TIMEOUT: Final = 2.0
READ_TIMEOUT: Final = 30.0
SEND_TIMEOUT: Final = 20.0

BY_LENGTH: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
BY_CHUNKS: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
BY_CLOSE: Final = b"HTTP/1.1 200 OK\r\n\r\nhalf"
HALF_CHUNKED: Final = b"4\r\nhalf\r\n"
EARLY: Final = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n\r\ntoo large"
GARBAGE: Final = b"\x00\x01\x02 is no HTTP\r\n\r\n"


@dataclass(slots=True)
class Stage:
    """Who takes part. ``peer``: a connection to the faulty server that is idle."""

    proxy: Proxy
    faulty: ScriptedServer
    client: Client
    kind: Kind
    peer: Peer | None = None

    async def request(self) -> Peer:
        """The faulty server has read the whole request."""
        peer = await self.faulty.connection()
        await self.read_from(peer)
        return peer

    async def read_from(self, peer: Peer) -> None:
        head = await peer.head()
        assert head.startswith(self.kind.method + b" /x HTTP/1.1\r\n")
        assert await peer.read(len(self.kind.body)) == self.kind.body

    async def ask_first(self) -> None:
        """Another client is served before, so that there is an idle connection."""
        other = await self.proxy.client(GET.head)
        peer = await self.faulty.connection()
        await peer.head()
        await peer.answer(b"first")
        assert await other.received() == (200, b"first")
        other.close()
        await becomes_true(lambda: self.proxy.idle == 1)
        self.peer = peer


async def nothing(stage: Stage) -> None:
    """It fails by itself."""


async def accepts_nothing(stage: Stage) -> None:
    assert isinstance(stage.faulty, BusyServer)
    await becomes_true(lambda: len(stage.proxy.wheel) == 2)  # the client, and the attempt
    stage.proxy.pass_time(CONNECT_TIMEOUT + 1)


async def is_silent(stage: Stage) -> None:
    await stage.request()
    stage.proxy.pass_time(READ_TIMEOUT + 1)


async def reads_nothing(stage: Stage) -> None:
    peer = await stage.faulty.connection()
    cast(asyncio.Transport, peer.writer.transport).pause_reading()
    await becomes_true(lambda: any(c.write_blocked for c in servers_of(stage.proxy)))
    stage.proxy.pass_time(SEND_TIMEOUT + 1)


async def hangs_up(stage: Stage) -> None:
    (await stage.faulty.connection()).close()


async def dies_without_an_answer(stage: Stage) -> None:
    (await stage.request()).close()


async def resets(stage: Stage) -> None:
    assert isinstance(stage.faulty, TcpServer)
    (await stage.request()).reset()


async def dies_in_the_head(stage: Stage) -> None:
    peer = await stage.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    peer.close()


async def speaks_something_else(stage: Stage) -> None:
    await (await stage.request()).send(GARBAGE)


async def dies_in_a_body_with_a_length(stage: Stage) -> None:
    await _dies_behind(stage, BY_LENGTH, b"half")


async def dies_in_a_chunked_body(stage: Stage) -> None:
    await _dies_behind(stage, BY_CHUNKS, HALF_CHUNKED if stage.kind.version == b"1.1" else b"half")


async def dies_behind_the_head(stage: Stage) -> None:
    await _dies_behind(stage, BY_CHUNKS.partition(b"4")[0], b"\r\n\r\n")


async def resets_in_a_body_without_an_end(stage: Stage) -> None:
    assert isinstance(stage.faulty, TcpServer)
    peer = await stage.request()
    await peer.send(BY_CLOSE)
    await stage.client.has(HALF_CHUNKED if stage.kind.version == b"1.1" else b"half")
    peer.reset()


async def _dies_behind(stage: Stage, answer: bytes, seen: bytes) -> None:
    peer = await stage.request()
    await peer.send(answer)
    await stage.client.has(seen)
    peer.close()


async def stalls_in_the_body(stage: Stage) -> None:
    peer = await stage.request()
    await peer.send(BY_LENGTH)
    await stage.client.has(b"half")
    stage.proxy.pass_time(READ_TIMEOUT + 1)


async def answers_byte_by_byte(stage: Stage) -> None:
    """Each byte comes just in time; all of them together take far longer than the timeout."""
    peer = await stage.request()
    head, body = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", b"slowly"
    (server,) = servers_of(stage.proxy)
    for at in range(len(head)):
        stage.proxy.pass_time(READ_TIMEOUT - 1)
        deadline = server.deadline
        await peer.send(head[at : at + 1])
        await becomes_true(lambda deadline=deadline: server.deadline > deadline)  # type: ignore[misc]
    for at in range(len(body)):
        stage.proxy.pass_time(READ_TIMEOUT - 1)
        await peer.send(body[at : at + 1])
        await stage.client.has(body[: at + 1])


async def answers_early_and_closes(stage: Stage) -> None:
    peer = await stage.request()
    await peer.send(EARLY)
    peer.close()


async def answers_early_and_closes_while_more_comes(stage: Stage) -> None:
    """The answer is there, and the connection broken for writing, before the proxy looks."""
    peer = await stage.request()
    stage.client.write(bytes(1000))
    peer.writer.write(EARLY)
    with socket.socket(fileno=os.dup(peer.writer.get_extra_info("socket").fileno())) as sock:
        sock.shutdown(socket.SHUT_RDWR)


async def dies_as_the_request_comes(stage: Stage) -> None:
    assert stage.peer is not None
    await stage.read_from(stage.peer)
    stage.peer.close()
    if stage.kind.method != b"POST" and len(stage.kind.body) < 65536:
        await serves_again(stage)


async def old_process_serves_on(stage: Stage) -> None:
    """It has not closed its connections yet."""
    assert stage.peer is not None
    await stage.read_from(stage.peer)
    await stage.peer.answer(b"again")


async def serves_again(stage: Stage) -> None:
    peer = await stage.request()
    await peer.answer(b"again")


# --- what comes before the request


async def idle_and_dead(stage: Stage) -> None:
    await stage.ask_first()
    assert stage.peer is not None
    stage.peer.close()
    await becomes_true(lambda: stage.proxy.idle == 0)


async def idle(stage: Stage) -> None:
    await stage.ask_first()


async def idle_and_unasked(stage: Stage) -> None:
    await stage.ask_first()
    assert stage.peer is not None
    await stage.peer.answer(b"poison")
    await becomes_true(lambda: stage.proxy.idle == 0)


async def idle_and_replaced(stage: Stage) -> None:
    """Another process has renamed its socket over the server's; both live."""
    await stage.ask_first()
    new = ScriptedServer(stage.faulty.path.with_suffix(".new"))
    await new.start()
    new.path = new.path.rename(stage.faulty.path)
    stage.faulty = new


async def replaced_and_dead(stage: Stage) -> None:
    await idle_and_replaced(stage)
    assert stage.peer is not None
    stage.peer.close()
    await becomes_true(lambda: stage.proxy.idle == 0)
