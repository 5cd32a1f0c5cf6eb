"""Media of any length and speed, taken in and given out by the stand-in for the workers."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping

import httptools

from bench.lib import pattern


class Receiver:
    """A request body on its way in, hashed; ``done`` gets its SHA-256 and length.

    It is read no faster than ``rate`` bytes a second; 0: no limit.
    """

    def __init__(
        self, transport: asyncio.Transport, rate: int, done: Callable[[str, int], None]
    ) -> None:
        self._transport = transport
        self._rate = rate
        self._done = done
        self._started = time.monotonic()
        self._received = 0
        self._hash = hashlib.sha256()
        self._parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)
        if self._rate:
            ahead = self._received / self._rate - (time.monotonic() - self._started)
            if ahead > 0.01:
                self._transport.pause_reading()
                asyncio.get_running_loop().call_later(ahead, self._transport.resume_reading)

    def on_body(self, body: bytes) -> None:
        self._hash.update(body)
        self._received += len(body)

    def on_message_complete(self) -> None:
        self._done(self._hash.hexdigest(), self._received)


async def send_media(
    transport: asyncio.Transport, resume: asyncio.Event, query: Mapping[str, str]
) -> None:
    """Writes ``bytes`` of the pattern; ``resume`` is set while the transport takes more."""
    total = int(query["bytes"])
    chunked = query["framing"] == "chunked"
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {total}"
    head = f"HTTP/1.1 200 OK\r\n{framing}\r\nContent-Type: application/octet-stream\r\n\r\n"
    transport.write(head.encode())
    for block in pattern.blocks(total):
        await resume.wait()
        if transport.is_closing():
            return
        if chunked:
            transport.writelines([b"%x\r\n" % len(block), block, b"\r\n"])
        else:
            transport.write(block)
    if chunked:
        transport.write(b"0\r\n\r\n")
