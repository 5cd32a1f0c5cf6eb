"""Matrix users, homeservers and rude strangers. Every whole answer is hashed and compared."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from tests.soak.ledger import Ledger, digest
from tests.soak.messages import BrokenError, Message, read_answer
from tests.soak.streams import Streams

_PATIENCE: Final = 40.0
"""Seconds after which an answer is overdue, whatever happens."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Ask:
    """One request. ``pool``: who answers it."""

    kind: str
    method: str
    path: str
    pool: str
    request: str
    body: bytes = b""
    chunked: bool = False
    gzip: bool = False

    def head(self) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: example.org"]
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
        elif self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        if self.gzip:
            lines.append("Accept-Encoding: gzip")
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def pieces(self, size: int) -> list[bytes]:
        """The body as it is sent."""
        cut = [self.body[at : at + size] for at in range(0, len(self.body), size)]
        if not self.chunked:
            return cut
        return [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in cut] + [b"0\r\n\r\n"]


class Crowd:
    """All clients of a round. ``tls``: a port, and a context for each protocol of ALPN."""

    def __init__(
        self,
        port: int,
        tls: tuple[int, Mapping[str, ssl.SSLContext]],
        ledger: Ledger,
        chance: random.Random,
    ) -> None:
        self._port = port
        self._tls = tls
        self._ledger = ledger
        self._chance = chance
        self._count = 0
        self._over = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, people: int) -> None:
        """``people``: how many of each kind."""
        self._over = False
        kinds: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self._syncs,
            self._syncs,
            self._sends,
            self._federates,
            self._downloads,
            self._uploads,
            self._pipelines,
            self._aborts,
            self._dawdles,
            self._tunnels,
            self._streams,
        ]
        self._tasks = [
            asyncio.create_task(self._live(kind)) for _ in range(people) for kind in kinds
        ]

    async def stop(self) -> None:
        """Everybody finishes what is under way."""
        self._over = True
        await asyncio.gather(*self._tasks)

    async def _live(self, kind: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await asyncio.sleep(self._chance.random())
        while not self._over:
            await kind()
            await asyncio.sleep(self._chance.uniform(0, 0.3))

    # --- what they ask

    def _ask(self, kind: str, method: str, path: str, pool: str, **more: Any) -> Ask:
        self._count += 1
        request = f"{kind}-{self._count}"
        body: bytes = more.pop("body", b"")
        query = {"id": request, **more.pop("query", {})}
        if body:
            query["sum"] = digest(body)
        path += "?" + "&".join(f"{name}={value}" for name, value in query.items())
        return Ask(kind, method, path, pool, request, body, **more)

    def _sync(self) -> Ask:
        chance = self._chance
        query = {"hold": f"{chance.uniform(0, 2):.2f}", "size": chance.choice((200, 5000, 90_000))}
        if chance.random() < 0.3:
            query["chunked"] = 1
        if chance.random() < 0.02:
            query["cut"] = 1
        return self._ask("sync", "GET", "/sync", "sync", query=query, gzip=chance.random() < 0.5)

    def _small(self) -> Ask:
        body = self._chance.randbytes(self._chance.choice((2, 300, 30_000)))
        method = self._chance.choice(("PUT", "POST"))
        return self._ask(
            "send", method, "/send", "main", body=body, chunked=self._chance.random() < 0.2
        )

    async def _syncs(self) -> None:
        await self._keep_alive([self._sync() for _ in range(5)])

    async def _sends(self) -> None:
        await self._keep_alive([self._small() for _ in range(10)])

    async def _federates(self) -> None:
        body = self._chance.randbytes(self._chance.randint(1, 60_000))
        asks = [self._ask("federation", "PUT", "/federation", "main", body=body)]
        asks.append(self._ask("federation", "GET", "/federation", "main", query={"size": 20_000}))
        await self._keep_alive(asks)

    async def _downloads(self) -> None:
        size = self._chance.randint(1, 3_000_000)
        query = {"size": size, "type": "image/png"}
        if self._chance.random() < 0.5:
            query["chunked"] = 1
        await self._keep_alive([self._ask("download", "GET", "/media", "media", query=query)])

    async def _uploads(self) -> None:
        body = self._chance.randbytes(self._chance.randint(1, 2_000_000))
        chunked = self._chance.random() < 0.5
        await self._keep_alive(
            [self._ask("upload", "POST", "/media", "media", body=body, chunked=chunked)]
        )

    # --- how they ask

    async def _connect(
        self, ask: Ask, begun: float, protocol: str = "http/1.1"
    ) -> Connection | None:
        """In the clear, or over TLS; nothing, if there is no handshake. To be refused is an error
        at any time."""
        if self._chance.random() < 0.5:
            return await asyncio.open_connection("127.0.0.1", self._port)
        port, contexts = self._tls
        try:
            return await asyncio.open_connection("127.0.0.1", port, ssl=contexts[protocol])
        except ConnectionRefusedError:
            raise
        except OSError:
            self._failed("closed", ask, begun)
            return None

    async def _keep_alive(self, asks: list[Ask], pause: float = 0.0) -> None:
        """One after the other on one connection, on another one if that ends."""
        connection: Connection | None = None
        for ask in asks:
            begun = asyncio.get_running_loop().time()
            if connection is None:
                connection = await self._connect(ask, begun)
                if connection is None:
                    continue
            reader, writer = connection
            if not await self._exchange(ask, reader, writer, begun, pause):
                writer.transport.abort()
                connection = None
        if connection is not None:
            connection[1].transport.abort()

    async def _exchange(
        self,
        ask: Ask,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        begun: float,
        pause: float,
    ) -> bool:
        """Whether the connection can be used again."""
        try:
            async with asyncio.timeout(_PATIENCE):
                sending = asyncio.create_task(_send(ask, writer, pause))
                try:
                    answer = await read_answer(reader, ask.method, pause)
                finally:
                    sending.cancel()
                    with suppress(asyncio.CancelledError, OSError):
                        await sending
        except OSError as error:
            if isinstance(error, TimeoutError):
                self._ledger.unexplained.append(f"{ask.request}: no answer in {_PATIENCE} s")
            else:
                self._failed("closed", ask, begun)
            return False
        except BrokenError as error:
            if "cut inside" in str(error):
                self._failed("cut", ask, begun)
            else:
                self._ledger.mismatches.append(f"{ask.request}: {error}")
            return False
        return self._judge(ask, answer, begun)

    def _judge(self, ask: Ask, answer: Message | None, begun: float) -> bool:
        ledger = self._ledger
        if answer is None:
            self._failed("closed", ask, begun)
            return False
        status = answer.line.split(" ")[1]
        keeps = answer.fields.get("connection") != "close"
        if status != "200":
            if status in ("502", "503", "504") and answer.whole and b"errcode" in answer.body:
                self._failed(status, ask, begun)
            else:
                ledger.unexplained.append(f"{ask.request}: {answer.line} {answer.body[:80]!r}")
            return keeps
        if answer.fields.get("x-id") != ask.request:
            ledger.mismatches.append(f"{ask.request} got {answer.fields.get('x-id')}")
            return False
        if not answer.whole:
            self._failed("cut", ask, begun)
            return False
        if digest(answer.content) != answer.fields["x-sum"]:
            ledger.mismatches.append(f"{ask.request}: another body at the client")
            return False
        ledger.answers[ask.kind] += 1
        ledger.bytes_checked += len(answer.content) + len(ask.body)
        return keeps

    def _failed(self, failure: str, ask: Ask, begun: float) -> None:
        self._ledger.failed(failure, ask.kind, ask.request, ask.pool, begun)

    # --- the odd ones

    async def _pipelines(self) -> None:
        asks = [
            self._ask("pipelined", "GET", "/pipeline", "main", query={"size": 3000})
            for _ in range(5)
        ]
        begun = asyncio.get_running_loop().time()
        connection = await self._connect(asks[0], begun)
        if connection is None:
            return
        reader, writer = connection
        writer.write(b"".join(ask.head() for ask in asks))
        for ask in asks:
            ask.body = b""
            try:
                async with asyncio.timeout(_PATIENCE):
                    answer = await read_answer(reader, "GET")
            except OSError:
                answer = None
            except BrokenError as error:
                self._ledger.mismatches.append(f"{ask.request}: {error}")
                break
            if not self._judge(ask, answer, begun):
                break
        writer.transport.abort()

    async def _aborts(self) -> None:
        """Leave in the head, in the body, while waiting, or inside the answer."""
        chance = self._chance
        ask = chance.choice((self._sync, self._small))()
        connection = await self._connect(ask, asyncio.get_running_loop().time())
        if connection is None:
            return
        reader, writer = connection
        raw = ask.head() + b"".join(ask.pieces(1000))
        writer.write(raw[: chance.choice((10, len(ask.head()), len(raw) // 2, len(raw)))])
        with suppress(OSError, asyncio.TimeoutError):
            async with asyncio.timeout(chance.uniform(0, 1.5)):
                await reader.read(100)
        writer.transport.abort()
        self._ledger.given_up["abort"] += 1

    async def _dawdles(self) -> None:
        """Send and read in small pieces, with pauses."""
        ask = self._ask("slow", "GET", "/media", "media", query={"size": 700_000, "chunked": 1})
        if self._chance.random() < 0.5:
            body = self._chance.randbytes(400_000)
            ask = self._ask("slow", "POST", "/media", "media", body=body, chunked=True)
        await self._keep_alive([ask], pause=0.1)

    async def _tunnels(self) -> None:
        ask = self._ask("tunnel", "GET", "/tunnel", "main")
        begun = asyncio.get_running_loop().time()
        connection = await self._connect(ask, begun)
        if connection is None:
            return
        reader, writer = connection
        head = ask.head()[:-2] + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        try:
            async with asyncio.timeout(_PATIENCE):
                writer.write(head)
                answer = await read_answer(reader, "GET")
                if answer is None or " 101 " not in answer.line:
                    self._judge(ask, answer, begun)
                    return
                for _ in range(self._chance.randint(1, 10)):
                    data = self._chance.randbytes(self._chance.randint(1, 50_000))
                    writer.write(data)
                    try:
                        echo = await reader.readexactly(len(data))
                    except asyncio.IncompleteReadError:
                        self._failed("cut", ask, begun)
                        return
                    if echo != data:
                        self._ledger.mismatches.append(f"{ask.request}: another echo")
                        return
                    self._ledger.bytes_checked += len(data)
                    await asyncio.sleep(self._chance.uniform(0, 0.2))
                self._ledger.answers["tunnel"] += 1
        except TimeoutError:
            self._ledger.unexplained.append(f"{ask.request}: no answer in {_PATIENCE} s")
        except (OSError, BrokenError):
            self._failed("cut", ask, begun)
        finally:
            writer.transport.abort()

    async def _streams(self) -> None:
        """Several at once on a connection of HTTP/2."""
        chance = self._chance
        asks = [self._sync(), self._sync(), self._ask("streamed", "GET", "/pipeline", "main")]
        size = chance.choice((200, 40_000, 500_000))
        asks.append(self._ask("streamed", "GET", "/media", "media", query={"size": size}))
        body = chance.randbytes(chance.randint(1, 30_000))
        asks.append(self._ask("streamed", "POST", "/send", "main", body=body))
        chance.shuffle(asks)
        begun = asyncio.get_running_loop().time()
        connection = await self._connect(asks[0], begun, "h2")
        if connection is None:
            return
        streams = Streams(*connection)
        gzip = [(b"accept-encoding", b"gzip")]
        try:
            async with asyncio.timeout(_PATIENCE):
                numbers = await streams.ask(
                    [(a.method, a.path, gzip if a.gzip else [], a.body) for a in asks]
                )
        except (OSError, AssertionError):
            self._failed("closed", asks[0], begun)
            connection[1].transport.abort()
            return
        for ask, number in zip(asks, numbers, strict=True):
            answer = await streams.answer(number)
            if answer is None and streams.ignored(number):
                if self._ledger.seen[ask.request]:
                    self._ledger.mismatches.append(f"{ask.request}: done, and said to be ignored")
                self._ledger.given_up["goaway"] += 1
            else:
                self._judge(ask, answer, begun)
        connection[1].transport.abort()


async def _send(ask: Ask, writer: asyncio.StreamWriter, pause: float) -> None:
    head = ask.head()
    if pause:
        for at in range(0, len(head), 20):
            writer.write(head[at : at + 20])
            await asyncio.sleep(pause / 10)
    else:
        writer.write(head)
    for piece in ask.pieces(32 * 1024):
        writer.write(piece)
        await writer.drain()
        if pause:
            await asyncio.sleep(pause)
