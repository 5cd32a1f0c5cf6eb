"""A stand-in Synapse worker that can be killed.

``python -m tests.support.mortal_worker SOCKET LOG``. SIGTERM ends it as it ends Synapse: the socket
goes, and every connection is closed without another byte. A /sync is held until somebody asks for
/news; every answer says how many are. What a POST brought is written to LOG before it is answered,
so that one that was done twice can be found.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path


class Worker:
    """Serves until it is killed."""

    def __init__(self, path: Path, log: Path) -> None:
        self._path = path
        self._log = log
        self._news = asyncio.Event()
        self._held = 0

    async def serve(self) -> None:
        server = await asyncio.start_unix_server(self._converse, str(self._path))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._die)
        async with server:
            await server.serve_forever()

    def _die(self) -> None:
        self._path.unlink(missing_ok=True)
        os._exit(0)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, target, _ = head.split(b"\r\n")[0].split(b" ")
                if method == b"POST":
                    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                    self._write_down(await reader.readexactly(length))
                elif target.startswith(b"/sync"):
                    self._held += 1
                    await self._news.wait()
                elif target.startswith(b"/news"):
                    self._news.set()
                body = b"%d" % self._held
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    def _write_down(self, body: bytes) -> None:
        descriptor = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(descriptor, body + b"\n")
        finally:
            os.close(descriptor)


if __name__ == "__main__":
    asyncio.run(Worker(Path(sys.argv[1]), Path(sys.argv[2])).serve())
