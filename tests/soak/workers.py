"""Stand-ins for Synapse's workers: what they answer they have hashed before, and they can die."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.soak.ledger import Ledger, digest
from tests.soak.messages import BrokenError, read_body, read_head


class Worker:
    """One worker on one UNIX socket."""

    def __init__(self, path: Path, pool: str, ledger: Ledger, chance: random.Random) -> None:
        self.path = path
        self.pool = pool
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._ledger = ledger
        self._chance = chance
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen; what listens there already is replaced without a gap."""
        old = self._server
        beside = self.path.with_suffix(".new")
        self._server = await asyncio.start_unix_server(self._serve, str(beside), backlog=1024)
        os.replace(beside, self.path)
        if old is not None:
            # What waits to be accepted would be lost: that is not what is tried here.
            await asyncio.sleep(0.2)
            old.close()

    async def kill(self) -> None:
        """As SIGKILL: nobody listens, every connection is reset."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def fall_silent(self) -> None:
        """Take requests, answer none."""
        self._speaks.clear()

    def speak(self) -> None:
        """Answer again, also what has waited."""
        self._speaks.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            with suppress(OSError, BrokenError, asyncio.CancelledError):
                while await self._answer(reader, writer):
                    pass
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await read_head(reader)
        if head is None:
            return False
        line, fields = head
        method, target, _ = line.split(" ")
        url = urlsplit(target)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        request = asked["id"]
        if "upgrade" in fields:
            self._ledger.twice(request, "TUNNEL")
            await self._tunnel(reader, writer, request)
            return False
        body, whole = await read_body(reader, fields)
        if not whole:
            return False
        self._ledger.twice(request, method)
        if asked.get("sum", digest(body)) != digest(body):
            self._ledger.mismatches.append(f"{method} {request}: another body at the worker")
        await self._speaks.wait()
        await asyncio.sleep(float(asked.get("hold", "0")))
        content = self._content(request, int(asked.get("size", "100")))
        await self._send(writer, request, content, asked)
        return "cut" not in asked

    def _content(self, request: str, size: int) -> bytes:
        """Different for each answer, and compressible as JSON is."""
        seed = f'{{"id": "{request}", "n": "{self._chance.getrandbits(64):x}", '
        return (seed.encode() * (size // len(seed) + 1))[:size]

    async def _send(
        self,
        writer: asyncio.StreamWriter,
        request: str,
        content: bytes,
        asked: dict[str, str],
    ) -> None:
        chunked = "chunked" in asked
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(content)}"
        writer.write(
            f"HTTP/1.1 200 OK\r\nX-Id: {request}\r\nX-Sum: {digest(content)}\r\n"
            f"Content-Type: {asked.get('type', 'application/json')}\r\n{framing}\r\n\r\n".encode()
        )
        end = len(content)
        if "cut" in asked:
            self._ledger.cut.add(request)
            end //= 2
        step = int(asked.get("step", "16384"))
        for at in range(0, end, step):
            piece = content[at : min(at + step, end)]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            await writer.drain()
        if "cut" in asked:
            self._ledger.done["cut by the worker"] += 1
            return
        if chunked:
            writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _tunnel(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: str
    ) -> None:
        """Everything comes back."""
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            b"X-Id: %b\r\n\r\n" % request.encode()
        )
        while data := await reader.read(64 * 1024):
            writer.write(data)
            await writer.drain()
