"""Stands in for the Synapse workers behind the proxies: cheap, and every answer can be checked.

GET /sync is answered at once (``timeout=0``) or held as long as ``timeout`` says; media is taken
in and given out at any length and speed. It relies on proxies that never pipeline.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import itertools
import json
import os
import random
import time
from collections.abc import Iterator
from typing import cast
from urllib.parse import parse_qs, urlsplit

import httptools

from bench.lib import matrix, pattern

_TICK = 0.02


class Books:
    """What all connections share: counters, ready-made answers, held syncs."""

    def __init__(self, body_size: int) -> None:
        rng = random.Random(7)
        self.requests = self.connections = self.held = self.lost_while_held = 0
        self._bodies = [
            matrix.sync_body(f"s{n}_757284974", round(body_size * rng.uniform(0.85, 1.15)), rng)
            for n in range(251)
        ]
        self._due: list[tuple[float, int, Connection, str]] = []
        self._order = itertools.count()
        self.answers: Iterator[bytes] = iter(())
        self.closing_answers: Iterator[bytes] = iter(())  # for requests with Connection: close
        self.refresh()

    def refresh(self) -> None:
        """Once a second: the Date header of the answers changes."""
        now = time.time()
        ready = [matrix.chunked_answer(body, now) for body in self._bodies]
        random.shuffle(ready)
        self.answers = itertools.cycle(ready)
        self.closing_answers = itertools.cycle(matrix.closing(answer) for answer in ready)

    def hold(self, connection: Connection, seconds: float, since: str) -> None:
        self.held += 1
        due = (time.monotonic() + seconds, next(self._order), connection, since)
        heapq.heappush(self._due, due)

    def release_due(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic():
            _, _, connection, since = heapq.heappop(self._due)
            self.held -= 1
            connection.answer({"next_batch": f"{since}_next", "rooms": {"pad": "x" * 800}})

    def as_dict(self) -> dict[str, object]:
        return {
            "requests": self.requests,
            "connections": self.connections,
            "held": self.held,
            "lost_while_held": self.lost_while_held,
        }


class Connection(asyncio.Protocol):
    """One connection from a proxy."""

    __slots__ = ("books", "buffer", "closing", "holding", "resume", "transport", "upload")
    transport: asyncio.Transport

    def __init__(self, books: Books) -> None:
        self.books = books
        self.buffer = b""
        self.closing = False
        self.holding = False
        self.upload: Upload | None = None
        self.resume = asyncio.Event()
        self.resume.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's has no such base
        self.books.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        if self.holding:
            self.books.lost_while_held += 1
        self.resume.set()

    def data_received(self, data: bytes) -> None:
        if self.upload is not None:
            self.upload.feed(data)
            return
        if self.buffer:
            data = self.buffer + data
            self.buffer = b""
        if b"\r\n\r\n" not in data:
            self.buffer = data
            return
        self.books.requests += 1
        self.closing = b"\r\nConnection: close\r\n" in data
        if b"&timeout=0 " in data and matrix.CHECK_PREFIX not in data:
            if self.closing:
                self.transport.write(next(self.books.closing_answers))
                self.transport.close()
            else:
                self.transport.write(next(self.books.answers))
        else:
            self._dispatch(data)

    def pause_writing(self) -> None:
        self.resume.clear()

    def resume_writing(self) -> None:
        self.resume.set()

    def answer(self, content: dict[str, object]) -> None:
        """A sealed JSON answer."""
        self.holding = False
        if self.transport.is_closing():
            return
        answer = matrix.chunked_answer(matrix.sealed(content), time.time())
        if self.closing:
            self.transport.write(matrix.closing(answer))
            self.transport.close()
        else:
            self.transport.write(answer)

    def _dispatch(self, data: bytes) -> None:
        method, raw_target, _ = data.split(b"\r\n", 1)[0].decode().split(" ")
        target = urlsplit(raw_target)
        query = {name: values[0] for name, values in parse_qs(target.query).items()}
        if method == "POST":
            self.upload = Upload(self, int(query.get("rate", 0)))
            self.upload.feed(data)
        elif target.path == "/control":
            self.answer(self.books.as_dict())
        elif "/media/download/" in target.path:
            chunked = query["framing"] == "chunked"
            task = asyncio.ensure_future(self._send_media(int(query["bytes"]), chunked))
            task.add_done_callback(lambda done: done.exception())
        elif query.get("timeout", "0") != "0":
            self.holding = True
            self.books.hold(self, int(query["timeout"]) / 1000, query["since"])
        else:
            since, head = query["since"], data.decode("latin-1")
            self.answer({"next_batch": f"{since}_next", "head": head})

    async def _send_media(self, total: int, chunked: bool) -> None:
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {total}"
        head = f"HTTP/1.1 200 OK\r\n{framing}\r\nContent-Type: application/octet-stream\r\n\r\n"
        self.transport.write(head.encode())
        for block in pattern.blocks(total):
            await self.resume.wait()
            if self.transport.is_closing():
                return
            if chunked:
                self.transport.writelines([b"%x\r\n" % len(block), block, b"\r\n"])
            else:
                self.transport.write(block)
        if chunked:
            self.transport.write(b"0\r\n\r\n")
        if self.closing:
            self.transport.close()


class Upload:
    """A request body on its way in, hashed, and read no faster than ``rate`` bytes a second."""

    def __init__(self, connection: Connection, rate: int) -> None:
        self._connection = connection
        self._rate = rate
        self._started = time.monotonic()
        self._received = 0
        self._hash = hashlib.sha256()
        self._parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)
        if self._rate:
            ahead = self._received / self._rate - (time.monotonic() - self._started)
            if ahead > 0.01:
                transport = self._connection.transport
                transport.pause_reading()
                asyncio.get_running_loop().call_later(ahead, transport.resume_reading)

    def on_body(self, body: bytes) -> None:
        self._hash.update(body)
        self._received += len(body)

    def on_message_complete(self) -> None:
        self._connection.upload = None
        content = {"sha256": self._hash.hexdigest(), "bytes": self._received}
        self._connection.answer({**content})


async def serve(directory: str, names: list[str], body_size: int) -> None:
    """Listens on ``directory/NAME.sock`` for every name, until cancelled."""
    books = Books(body_size)
    loop = asyncio.get_running_loop()
    servers = []  # uvloop closes a server that nobody refers to
    for name in names:
        path = f"{directory}/{name}.sock"
        servers.append(await loop.create_unix_server(lambda: Connection(books), path, backlog=4096))
        os.chmod(path, 0o666)  # as Synapse makes them; nginx's worker is another user
    for tick in itertools.count():
        await asyncio.sleep(_TICK)
        books.release_due()
        if tick % round(1 / _TICK) == 0:
            books.refresh()


def read_control(answer: bytes) -> dict[str, int]:
    """The counters out of an answer of the control socket."""
    counters = {}
    for name, value in matrix.unseal(answer).items():
        counters[name] = int(json.dumps(value))
    return counters
