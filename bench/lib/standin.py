"""Stands in for the Synapse workers behind the proxies: cheap, and every answer can be checked.

GET /sync is answered at once (``timeout=0``) or held; PUT .../send is acknowledged; media is taken
in and given out. It relies on proxies that never pipeline.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import re
import time
from collections.abc import Iterator
from typing import cast
from urllib.parse import parse_qs, urlsplit

from bench.lib import matrix
from bench.lib.standin_media import Receiver, send_media

READY_ANSWERS = 252
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)


class Books:
    """What all connections share: counters, ready-made answers, held syncs.

    ``sizes``: how large the answers to syncs are, in bytes; one is picked as often as it is named.
    """

    def __init__(self, sizes: list[int]) -> None:
        rng = random.Random(7)
        self.requests = self.connections = self.lost_while_held = self.bad_bodies = 0
        self.held: dict[Connection, str] = {}
        self._bodies = [
            matrix.sync_body(f"s{number}_757284974", round(size * rng.uniform(0.85, 1.15)), rng)
            for number in range(max(READY_ANSWERS // len(sizes), 1))
            for size in sizes
        ]
        self.answers: Iterator[bytes] = iter(())
        self.closing_answers: Iterator[bytes] = iter(())  # for requests with Connection: close
        self.acknowledgements: Iterator[bytes] = iter(())
        self.refresh()

    def refresh(self) -> None:
        """Once a second: the Date header of the answers changes."""
        now = time.time()
        ready = [matrix.chunked_answer(body, now) for body in self._bodies]
        random.shuffle(ready)
        self.answers = itertools.cycle(ready)
        self.closing_answers = itertools.cycle(map(matrix.closing, ready))
        events = [{"event_id": f"$event{number}_{'x' * 40}"} for number in range(64)]
        acknowledgements = [matrix.chunked_answer(matrix.sealed({**one}), now) for one in events]
        self.acknowledgements = itertools.cycle(acknowledgements)

    def release(self) -> None:
        """Answers every held sync."""
        held, self.held = self.held, {}
        for connection, since in held.items():
            connection.answer({"next_batch": f"{since}_next", "rooms": {"pad": "x" * 800}})

    def as_dict(self) -> dict[str, object]:
        return {
            "requests": self.requests,
            "connections": self.connections,
            "held": len(self.held),
            "lost_while_held": self.lost_while_held,
            "bad_bodies": self.bad_bodies,
        }


class Connection(asyncio.Protocol):
    """One connection from a proxy."""

    __slots__ = ("books", "buffer", "closing", "receiver", "resume", "transport")
    transport: asyncio.Transport

    def __init__(self, books: Books) -> None:
        self.books = books
        self.buffer = b""
        self.closing = False
        self.receiver: Receiver | None = None
        self.resume = asyncio.Event()
        self.resume.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's has no such base
        self.books.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        if self.books.held.pop(self, None) is not None:
            self.books.lost_while_held += 1
        self.resume.set()

    def pause_writing(self) -> None:
        self.resume.clear()

    def resume_writing(self) -> None:
        self.resume.set()

    def data_received(self, data: bytes) -> None:
        if self.receiver is not None:
            self.receiver.feed(data)
            return
        if self.buffer:
            data = self.buffer + data
            self.buffer = b""
        end = data.find(b"\r\n\r\n") + 4
        if end == 3:
            self.buffer = data
        elif data.startswith(b"POST "):
            self._count(data)
            _, query = _target(data)
            self.receiver = Receiver(self.transport, int(query.get("rate", 0)), self._received)
            self.receiver.feed(data)
        elif data.startswith(b"PUT "):
            self._put(data, end)
        elif b"timeout=0 " in data and matrix.CHECK_PREFIX not in data:
            self._count(data)
            self._write(next(self.books.closing_answers if self.closing else self.books.answers))
        else:
            self._count(data)
            self._get(data)

    def answer(self, content: dict[str, object]) -> None:
        """A sealed JSON answer."""
        if self.transport.is_closing():
            return
        answer = matrix.chunked_answer(matrix.sealed(content), time.time())
        self._write(matrix.closing(answer) if self.closing else answer)

    def _count(self, data: bytes) -> None:
        self.books.requests += 1
        self.closing = b"\r\nConnection: close\r\n" in data

    def _write(self, answer: bytes) -> None:
        self.transport.write(answer)
        if self.closing:
            self.transport.close()

    def _put(self, data: bytes, end: int) -> None:
        length = _LENGTH.search(data, 0, end)
        if length is None:
            self.books.bad_bodies += 1  # every client here announces a length
            self.transport.abort()
            return
        if len(data) < end + int(length[1]):
            self.buffer = data
            return
        self._count(data)
        body = data[end:]
        if not (len(body) == int(length[1]) and body[:1] == b"{" and body[-1:] == b"}"):
            self.books.bad_bodies += 1
        if b"/check" in data[:end]:
            self.answer({"head": data[:end].decode("latin-1"), "body": body.decode("latin-1")})
        else:
            self._write(next(self.books.acknowledgements))

    def _get(self, data: bytes) -> None:
        path, query = _target(data)
        if path == "/control":
            if "release" in query:
                self.books.release()
            self.answer(self.books.as_dict())
        elif "/media/download/" in path:
            task = asyncio.ensure_future(send_media(self.transport, self.resume, query))
            task.add_done_callback(lambda done: done.exception())
        elif query.get("timeout", "0") != "0":
            self.books.held[self] = query["since"]
        else:
            since, head = query.get("since", ""), data.decode("latin-1")
            content: dict[str, object] = {"next_batch": f"{since}_next", "head": head}
            if "size" in query:
                rng = random.Random(since)
                content["pad"] = json.loads(matrix.sync_body("", int(query["size"]), rng))
            self.answer(content)

    def _received(self, sha256: str, length: int) -> None:
        self.receiver = None
        self.answer({"sha256": sha256, "bytes": length})


def _target(data: bytes) -> tuple[str, dict[str, str]]:
    """The path and the query of a request."""
    target = urlsplit(data.split(b" ", 2)[1].decode())
    return target.path, {name: values[0] for name, values in parse_qs(target.query).items()}


async def serve(directory: str, names: list[str], sizes: list[int]) -> None:
    """Listens on ``directory/NAME.sock`` for every name, until cancelled."""
    books = Books(sizes)
    loop = asyncio.get_running_loop()
    servers = []  # uvloop closes a server that nobody refers to
    for name in names:
        path = f"{directory}/{name}.sock"
        servers.append(await loop.create_unix_server(lambda: Connection(books), path, backlog=4096))
        os.chmod(path, 0o666)  # as Synapse makes them; nginx's worker is another user
    while True:
        await asyncio.sleep(1)
        books.refresh()


def read_control(answer: bytes) -> dict[str, int]:
    """The counters out of an answer of the control socket."""
    counters = {}
    for name, value in matrix.unseal(answer).items():
        counters[name] = int(json.dumps(value))
    return counters
