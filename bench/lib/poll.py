"""Holds thousands of syncs, each on a connection of its own, and checks the answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

from bench.lib import matrix
from bench.lib.checker import control

TIMEOUT_MS = 600_000
"""What every sync asks for; all are answered long before."""


class _Client(asyncio.Protocol):
    """One connection and its sync."""

    __slots__ = ("data", "expected", "problem", "transport")
    transport: asyncio.Transport

    def __init__(self) -> None:
        self.data = b""
        self.expected = ""  # empty: nothing is awaited
        self.problem = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's has no such base

    def ask(self, since: str) -> None:
        self.expected = f"{since}_next"
        self.transport.write(matrix.sync_request(since, TIMEOUT_MS, since))

    def data_received(self, data: bytes) -> None:
        self.data += data
        if self.data.endswith(b"\r\n0\r\n\r\n"):
            self.problem = _wrong(self.data, self.expected)
            self.data = b""  # what the clients keep is not to be mistaken for the proxy's memory
            self.expected = ""

    def connection_lost(self, exc: Exception | None) -> None:
        if self.expected:
            self.problem = f"closed before the answer: {exc} {self.data[:80]!r}"
            self.expected = ""


class Held:
    """Held syncs behind a proxy on ``port``; ``directory`` has the stand-in's control socket."""

    def __init__(self, port: int, directory: Path) -> None:
        self._port = port
        self._directory = directory
        self._clients: list[_Client] = []

    async def hold(self, count: int) -> None:
        """Opens them and returns when all wait at the workers, or after 30 seconds."""
        loop = asyncio.get_running_loop()
        while len(self._clients) < count:
            _, client = await loop.create_connection(_Client, "127.0.0.1", self._port)
            client.ask(f"held{len(self._clients)}")
            self._clients.append(client)
        for _ in range(300):
            if control(self._directory)["held"] >= count:
                break
            await asyncio.sleep(0.1)

    async def release(self) -> list[str]:
        """Has all answered, closes the connections, and returns what was wrong, once each."""
        problems = [client.problem for client in self._clients if client.problem]
        waiting = control(self._directory)["held"]
        if waiting != len(self._clients):
            problems.append(f"{waiting} of {len(self._clients)} syncs were held at the workers")
        control(self._directory, "release")
        for _ in range(300):
            if not any(client.expected for client in self._clients):
                break
            await asyncio.sleep(0.1)
        for client in self._clients:
            if client.expected or client.problem:
                problems.append(client.problem or "never answered")
            client.transport.close()
        return list(dict.fromkeys(problems))


def _wrong(data: bytes, expected: str) -> str:
    """What is wrong with a chunked answer that should carry ``expected``; empty: nothing."""
    head, _, rest = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        return f"answered {head[:40]!r}"
    try:
        got = matrix.unseal(matrix.unchunk(rest))["next_batch"]
    except (ValueError, KeyError) as error:
        return f"bad body: {error}"
    return "" if got == expected else f"answer of another request: {got} instead of {expected}"
