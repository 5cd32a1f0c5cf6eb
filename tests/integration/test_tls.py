"""TLS at a listener: time, large messages, and one side that ends before the other."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from synproxy.config.certificates import read_pems
from synproxy.config.model import Listener
from synproxy.runtime.accepting import Accepting
from synproxy.runtime.tls import TlsEndpoint
from tests.integration.harness import WAIT, Peer, Proxy, ScriptedServer, becomes_true
from tests.support.certificates import make_certificate

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
LARGE = bytes(range(256)) * (1 << 16)  # 16 MiB: more than the kernel keeps
TUNNEL = {
    "set_header": {"Connection": "$connection_upgrade", "Upgrade": "$http_upgrade", "Host": "a"}
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"), "a", "a.example")


@asynccontextmanager
async def secure(
    server: ScriptedServer, pair: tuple[Path, Path]
) -> AsyncIterator[tuple[Proxy, TlsEndpoint]]:
    """A proxy whose listener speaks TLS."""
    files = {"certificate": str(pair[0]), "key": str(pair[1])}
    listener = Listener.model_validate({"listen": "127.0.0.1:0", "tls": {"certificates": [files]}})
    assert listener.tls is not None
    async with Proxy.to(server, proxy=TUNNEL, http={"client_max_body_size": "0"}) as proxy:
        accepting = Accepting(listener, proxy.handler, read_pems(listener.tls.certificates))
        assert accepting.endpoint is not None
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(accepting.connection, "127.0.0.1", 0)
        proxy.port = listening.sockets[0].getsockname()[1]
        yield proxy, accepting.endpoint
        listening.close()


class Client:
    """A client whose every byte of TLS the test decides on; asyncio's cannot half-close."""

    def __init__(self, peer: Peer) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.peer = peer
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="a.example")

    @classmethod
    async def to(cls, proxy: Proxy) -> Client:
        client = cls(await proxy.client())
        while True:
            try:
                client._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await client._flush()
                await client._more()
        await client._flush()
        return client

    async def send(self, data: bytes) -> None:
        self._tls.write(data)
        await self._flush()

    async def say_goodbye(self) -> None:
        """close_notify, and nothing about the connection below."""
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        await self._flush()

    async def until(self, enough: Callable[[bytes], bool], least: int = 1) -> bytes:
        """What comes until it is enough, which begins to be asked after ``least`` bytes."""
        data = bytearray()
        while len(data) < least or not enough(bytes(data)):
            try:
                piece = self._tls.read(1 << 16)
                assert piece
                data += piece
            except ssl.SSLWantReadError:
                await self._more()
        return bytes(data)

    async def status(self) -> bytes:
        return (await self.until(lambda told: b"\r\n\r\n" in told)).partition(b"\r\n")[0]

    async def ended(self) -> None:
        """Wait for the other side's close_notify."""
        while True:
            try:
                assert not self._tls.read(1 << 16)
            except ssl.SSLWantReadError:
                await self._more()
            else:
                return

    async def _flush(self) -> None:
        await self.peer.send(self._out.read())

    async def _more(self) -> None:
        data = await asyncio.wait_for(self.peer.reader.read(1 << 16), WAIT)
        assert data, "the connection has ended without close_notify"
        self._in.write(data)


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
async def test_a_handshake_that_takes_too_long_is_cut(
    tmp_path: Path, pair: tuple[Path, Path], sent: bytes
) -> None:
    async with ScriptedServer(tmp_path / "s") as server, secure(server, pair) as (proxy, endpoint):
        client = await proxy.client(sent)
        await becomes_true(lambda: len(proxy.handler.connections) == 1)
        proxy.pass_time(59)
        assert not endpoint.failures
        proxy.pass_time(2)  # client_header_timeout is 60 s
        assert await client.ended()
        assert endpoint.failures == {"timed out": 1}
        assert not proxy.handler.connections


async def test_after_a_handshake_the_head_has_its_own_time(
    tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    async with ScriptedServer(tmp_path / "s") as server, secure(server, pair) as (proxy, endpoint):
        client = await Client.to(proxy)
        await becomes_true(lambda: endpoint.handshakes == 1)
        proxy.pass_time(59)
        await client.send(GET)
        peer, _ = await server.request()
        await peer.answer(b"late")
        assert await client.status() == b"HTTP/1.1 200 OK"


async def test_a_large_answer_waits_for_a_client_that_does_not_read(
    tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    async with ScriptedServer(tmp_path / "s") as server, secure(server, pair) as (proxy, _):
        client = await Client.to(proxy)
        await client.send(GET)
        peer, _ = await server.request()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LARGE)
        peer.writer.write(head + LARGE)
        drained = asyncio.ensure_future(peer.writer.drain())
        for _ in range(200):
            await asyncio.sleep(0)
        assert not drained.done()  # neither the proxy nor the kernel takes it all
        told = await client.until(lambda told: told.endswith(LARGE[-256:]), len(LARGE))
        assert told.partition(b"\r\n\r\n")[2] == LARGE
        await drained


@pytest.mark.parametrize("size", [1, 16384, 16385, 100_000])
async def test_a_large_body_arrives_whatever_its_records(
    tmp_path: Path, pair: tuple[Path, Path], size: int
) -> None:
    body = LARGE[: 40 * size if size > 1 else 2000]
    async with ScriptedServer(tmp_path / "s") as server, secure(server, pair) as (proxy, _):
        client = await Client.to(proxy)
        head = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
        await client.send(head)
        peer, _ = await server.request()
        sending = asyncio.ensure_future(_in_pieces(client, body, size))
        assert await peer.read(len(body)) == body
        await sending
        await peer.answer()
        assert await client.status() == b"HTTP/1.1 200 OK"


async def _in_pieces(client: Client, body: bytes, size: int) -> None:
    for start in range(0, len(body), size):
        await client.send(body[start : start + size])


async def test_a_client_that_ends_its_side_is_one_that_has_gone_as_without_tls(
    tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    async with ScriptedServer(tmp_path / "s") as server, secure(server, pair) as (proxy, _):
        client = await Client.to(proxy)
        await client.send(GET)
        peer, _ = await server.request()
        await client.say_goodbye()
        assert await peer.ended()  # nginx: 499
    async with ScriptedServer(tmp_path / "t") as server, Proxy.to(server) as proxy:
        plain = await proxy.client(GET)
        peer, _ = await server.request()
        plain.writer.write_eof()
        assert await peer.ended()


async def test_one_direction_of_a_tunnel_ends_before_the_other(
    tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    async with ScriptedServer(tmp_path / "s") as server, secure(server, pair) as (proxy, _):
        client = await Client.to(proxy)
        await client.send(UPGRADE)
        peer, _ = await server.request()
        await peer.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nlast"
        )
        await client.until(lambda told: told.endswith(b"last"))
        peer.writer.write_eof()
        await client.ended()
        await client.send(b"and yet it goes on")
        assert await peer.read(18) == b"and yet it goes on"


async def test_a_client_may_change_its_keys(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    async with ScriptedServer(tmp_path / "s") as server, secure(server, pair) as (proxy, endpoint):
        process = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-connect", f"127.0.0.1:{proxy.port}"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        await becomes_true(lambda: endpoint.handshakes == 1)
        process.stdin.write(b"K\n")  # "update your keys, too"; Python has no way to ask for it
        await asyncio.wait_for(process.stderr.readuntil(b"KEYUPDATE"), WAIT)
        process.stdin.write(GET.replace(b"Host", b"Connection: close\r\nHost"))
        peer, _ = await server.request()
        await peer.answer(b"with new keys")
        assert b"with new keys" in await asyncio.wait_for(process.stdout.read(), WAIT)
        assert await process.wait() == 0
