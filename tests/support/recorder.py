"""Stand-in Synapse processes on UNIX sockets that write down every byte they are sent.

One thread hosts all of them. It knows nothing of proxies: what arrives is recorded as it came, what
is answered is what the test asked for. Requests are told apart by their ``X-Case`` header.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.support.script import HEAD_END, WAIT, Answer, Received, Then, chunked_end, default_answer

CASE = re.compile(rb"\r\nX-Case: ([^\r\n]*)\r\n", re.IGNORECASE)
LENGTH = re.compile(rb"\r\nContent-Length: *([0-9]+)\r\n", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\nTransfer-Encoding: *chunked\r\n", re.IGNORECASE)
DEADLINE = 10.0


class Recorder:
    """All stand-in servers of a test module. Use it as a context manager."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.connections = 0
        self._requests: list[Received] = []
        self._ended: list[tuple[bytes, str]] = []
        self._heads: set[bytes] = set()
        self._half_closed: set[bytes] = set()
        self._tunnelled: dict[bytes, bytearray] = defaultdict(bytearray)
        self._scripts: dict[bytes, list[Answer]] = {}
        self._gates: dict[bytes, asyncio.Event] = defaultdict(asyncio.Event)
        self._servers: list[asyncio.Server] = []
        self._transports: set[asyncio.Transport] = set()
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop).result(DEADLINE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)
        self._loop.close()

    async def _shut_down(self) -> None:
        for server in self._servers:
            server.close()
        for transport in list(self._transports):
            transport.abort()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def listen(self, names: Iterable[str]) -> None:
        """Open a UNIX socket for every name, relative to the directory."""
        for name in names:
            path = self.directory / name
            self.listen_on(path.stem, _unix_listener(path))

    def leave_behind(self, name: str) -> None:
        """A socket file that nobody listens on any more: connections to it are refused."""
        _unix_listener(self.directory / name).close()

    def listen_on(self, name: str, listener: socket.socket) -> None:
        """Serve a listening socket under a name."""
        listener.setblocking(False)
        asyncio.run_coroutine_threadsafe(self._serve(name, listener), self._loop).result(DEADLINE)

    def script(self, case: bytes, answers: Iterable[Answer]) -> None:
        """Answer the attempts of a case in this order; the last one is repeated."""
        self._scripts[case] = list(answers)

    def release(self, case: bytes) -> None:
        """Let the answer of a case go on behind its next ``WAIT``."""
        self._loop.call_soon_threadsafe(self._gates[case].set)

    def take(self) -> list[Received]:
        """Everything received since the last call."""
        with self._changed:
            taken, self._requests = self._requests, []
        return taken

    def received(self, case: bytes) -> list[Received]:
        """What was received for a case, in order; nothing is forgotten."""
        with self._changed:
            return [request for request in self._requests if request.case == case]

    def wait_for_request(self, case: bytes, count: int = 1) -> None:
        """Return once ``count`` requests of a case are here; raises TimeoutError."""
        self._wait(lambda: sum(r.case == case for r in self._requests) >= count, case)

    def wait_for_head(self, case: bytes) -> None:
        """Return once a head of a case is here, whether or not its body is."""
        self._wait(lambda: case in self._heads, case)

    def wait_for_half_close(self, case: bytes) -> None:
        """Return once the proxy sends nothing more for a case that still waits at a ``WAIT``."""
        self._wait(lambda: case in self._half_closed, case)

    def wait_for_end(self, case: bytes) -> str:
        """How the proxy ended the connection that carried a case: ``eof`` or ``reset``."""
        self._wait(lambda: any(name == case for name, _ in self._ended), case)
        return next(how for name, how in self._ended if name == case)

    def wait_for_tunnel(self, case: bytes, count: int) -> bytes:
        """The first ``count`` bytes that came through a tunnel."""
        self._wait(lambda: len(self._tunnelled[case]) >= count, case)
        return bytes(self._tunnelled[case])

    def _wait(self, met: Callable[[], bool], case: bytes) -> None:
        with self._changed:
            if not self._changed.wait_for(met, DEADLINE):
                raise TimeoutError(f"case {case!r}: nothing happened within {DEADLINE} s")

    async def _serve(self, name: str, listener: socket.socket) -> None:
        server = await self._loop.create_server(lambda: _Connection(self, name), sock=listener)
        self._servers.append(server)

    def record(self, request: Received) -> None:
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()

    def record_head(self, case: bytes) -> None:
        with self._changed:
            self._heads.add(case)
            self._changed.notify_all()

    def record_half_close(self, case: bytes) -> None:
        with self._changed:
            self._half_closed.add(case)
            self._changed.notify_all()

    def record_end(self, case: bytes, how: str) -> None:
        with self._changed:
            self._ended.append((case, how))
            self._changed.notify_all()

    def record_tunnelled(self, case: bytes, data: bytes) -> None:
        with self._changed:
            self._tunnelled[case] += data
            self._changed.notify_all()

    def next_answer(self, case: bytes, head: bytes) -> Answer:
        answers = self._scripts.get(case)
        if not answers:
            return default_answer(head)
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def gate(self, case: bytes) -> None:
        await self._gates[case].wait()
        self._gates[case].clear()


class _Connection(asyncio.Protocol):
    """One connection to a stand-in server: reads requests in turn, answers as scripted."""

    def __init__(self, recorder: Recorder, server: str) -> None:
        self.recorder = recorder
        self.server = server
        recorder.connections += 1
        self.number = recorder.connections
        self.buffer = bytearray()
        self.head: bytes | None = None
        self.case = b""
        self.answered = False
        self.then = Then.KEEP
        self.tunnel = False
        self.answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.recorder._transports.add(transport)

    def data_received(self, data: bytes) -> None:
        if self.tunnel:
            self.recorder.record_tunnelled(self.case, data)
            self.transport.write(data)
            return
        self.buffer += data
        while self._advance():
            pass

    def eof_received(self) -> bool:
        if self.answering is not None and not self.answering.done():
            self.recorder.record_half_close(self.case)
            return True
        self._ended("eof")
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.recorder._transports.discard(self.transport)
        if self.answering is not None:
            self.answering.cancel()
        self._ended("reset" if error else "eof")

    def _ended(self, how: str) -> None:
        if self.head is not None and not self.answered:
            self._record(bytes(self.buffer), "cut")
        self.head = None
        self.recorder.record_end(self.case, how)

    def _advance(self) -> bool:
        if self.tunnel:
            return False
        if self.head is None:
            end = self.buffer.find(HEAD_END)
            if end < 0:
                return False
            self.head = bytes(self.buffer[: end + 4])
            del self.buffer[: end + 4]
            case = CASE.search(self.head)
            self.case = case[1] if case else b""
            self.answered = False
            self.recorder.record_head(self.case)
            self.answer = self.recorder.next_answer(self.case, self.head)
            if self.answer.early:
                self._record(b"", "early")
                self._reply()
        body = self._body()
        if body is None:
            return False
        if not self.answered:
            self._record(*body)
            self._reply()
        self.head = None
        return bool(self.buffer)

    def _body(self) -> tuple[bytes, str] | None:
        assert self.head is not None
        if CHUNKED.search(self.head):
            end = chunked_end(self.buffer)
            if end is None:
                return None
            framing = "chunked"
        else:
            length = LENGTH.search(self.head)
            end = int(length[1]) if length else 0
            framing = "length" if length else "none"
            if len(self.buffer) < end:
                return None
        body = bytes(self.buffer[:end])
        del self.buffer[:end]
        return body, framing

    def _record(self, body: bytes, framing: str) -> None:
        assert self.head is not None
        self.recorder.record(
            Received(self.case, self.server, self.number, self.head, body, framing)
        )

    def _reply(self) -> None:
        self.answered = True
        answer = self.answer
        if WAIT in answer.parts:
            self.answering = self.recorder._loop.create_task(self._write_slowly(answer))
            return
        self.transport.write(b"".join(part for part in answer.parts if isinstance(part, bytes)))
        self._finish(answer.then)

    async def _write_slowly(self, answer: Answer) -> None:
        for part in answer.parts:
            if isinstance(part, bytes):
                self.transport.write(part)
            else:
                await self.recorder.gate(self.case)
        self._finish(answer.then)

    def _finish(self, then: Then) -> None:
        if then is Then.CLOSE:
            self.transport.close()
        elif then is Then.RESET:
            connection = self.transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()
        elif then is Then.ECHO:
            self.tunnel = True
            if self.buffer:
                early, self.buffer = bytes(self.buffer), bytearray()
                self.data_received(early)


def _unix_listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(512)
    return listener
