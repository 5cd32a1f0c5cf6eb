"""Reloads, binary upgrades and killed children under load: who notices?

``make endurance`` runs it with the full numbers; tests/process/test_endurance.py with fewer.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import resource
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from synproxy.runtime.control import Control, ControlError
from tests.support.synproxy import Synproxy

CONFIG: Final = """\
listeners: [{listen: "127.0.0.1:@PORT@", backlog: 4096}]
access_log: @RUN@/access.log
children: 2
control_socket: @RUN@/control.sock
pid: @RUN@/synproxy.pid
http: {keepalive_requests: 1000000}
pools:
  workers: {servers: ["unix:@RUN@/worker.sock"], keepalive: 64}
routes:
  - {name: all, location: /, pool: workers}
"""
_SYNC: Final = b"GET /sync HTTP/1.1\r\nHost: example.org\r\n\r\n"
_PLAIN: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
_SETTLE: Final = 30.0  # seconds that anything here may take


@dataclass
class Numbers:
    """How much of everything."""

    syncs: int
    reloads: int
    upgrades: int
    crashes: int
    connections: int = 16
    hold: tuple[float, float] = (3.0, 6.0)  # seconds
    pause: float = 0.0  # seconds between two events
    port: int = 0


@dataclass
class Report:
    """What happened."""

    requests: int = 0
    """Of wrk."""
    syncs: int = 0
    refused: int = 0
    """Connections that were not taken."""
    failed: int = 0
    """Requests that got no answer, or a wrong one."""
    held_by_killed: int = 0
    """Connections that killed children had when they were killed."""
    reloads: int = 0
    upgrades: int = 0
    crashes: int = 0
    spread: str = ""
    wrk: str = ""


class Worker(asyncio.Protocol):
    """Stands in for Synapse: holds syncs, answers the rest."""

    hold: tuple[float, float] = (3.0, 6.0)
    connections: ClassVar[set[asyncio.Transport]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.connections.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"GET /sync"):
            asyncio.get_running_loop().call_later(
                random.uniform(*self.hold), self.transport.write, _PLAIN
            )
        else:
            self.transport.write(_PLAIN)


class Load:
    """Clients that sync again and again."""

    def __init__(self, port: int, report: Report) -> None:
        self._port = port
        self._report = report
        self._over = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, count: int) -> None:
        self._tasks = [asyncio.create_task(self._client()) for _ in range(count)]

    async def stop(self) -> None:
        """Every client gets the answer it waits for first."""
        self._over = True
        await asyncio.wait_for(asyncio.gather(*self._tasks), _SETTLE)

    async def _client(self) -> None:
        while not self._over:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                self._report.refused += 1
                await asyncio.sleep(0.1)
                continue
            with suppress(OSError):
                await self._sync_on(reader, writer)
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def _sync_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not self._over:
            try:
                writer.write(_SYNC)
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(2)
            except (OSError, asyncio.IncompleteReadError):
                self._report.failed += 1
                return
            good = head.startswith(b"HTTP/1.1 200 ") and body == b"{}"
            self._report.syncs += good
            self._report.failed += not good
            if b"\r\nConnection: close\r\n" in head:
                return


async def ask(path: Path, question: str) -> dict[str, Any]:
    """A command over the control socket."""
    _, control = await asyncio.get_running_loop().create_unix_connection(Control, str(path))
    try:
        return await control.ask(question, _SETTLE)
    finally:
        control.close()


async def until(condition: Callable[[dict[str, Any]], bool], path: Path) -> dict[str, Any]:
    """Ask for the state until it is so."""
    async with asyncio.timeout(_SETTLE):
        while True:
            with suppress(ControlError, OSError):
                state = await ask(path, "status")
                if condition(state):
                    return state
            await asyncio.sleep(0.05)


async def endure(directory: Path, numbers: Numbers, say: Callable[[str], None]) -> Report:
    """Run all of it; what must hold is for the caller to judge."""
    loop = asyncio.get_running_loop()
    report = Report()
    Worker.hold = numbers.hold
    workers = await loop.create_unix_server(Worker, str(directory / "worker.sock"), backlog=4096)
    proxy = Synproxy(directory, CONFIG)
    numbers.port = proxy.port
    path = directory / "control.sock"
    await asyncio.to_thread(proxy.start)
    load = Load(proxy.port, report)
    try:
        await until(lambda state: len(state["children"]) == 2, path)
        load.start(numbers.syncs)
        state = await until(lambda state: held(state) >= numbers.syncs, path)
        report.spread = "/".join(str(child["connections"]) for child in state["each"])
        say(f"{held(state)} syncs are held, by child: {report.spread}")
        wrk = await asyncio.create_subprocess_exec(
            *("wrk", "-t1", f"-c{numbers.connections}", "-d600s", "--timeout", "30s"),
            f"http://127.0.0.1:{proxy.port}/version",
            stdout=asyncio.subprocess.PIPE,
        )
        events = (
            [reload] * numbers.reloads + [upgrade] * numbers.upgrades + [crash] * numbers.crashes
        )
        random.Random(7).shuffle(events)
        for event in events:
            await event(path, report, numbers, say)
            await asyncio.sleep(numbers.pause)
        wrk.send_signal(signal.SIGINT)
        output, _ = await wrk.communicate()
        report.wrk = output.decode()
        judge_wrk(report)
        await load.stop()
    except TimeoutError:
        say((directory / "synproxy.out").read_text()[-3000:])
        raise
    finally:
        await end_all(proxy)
        workers.close()
        for transport in list(Worker.connections):
            transport.abort()
        await asyncio.sleep(0)
    return report


async def end_all(proxy: Synproxy) -> None:
    """End every supervisor, also those between which an upgrade was interrupted."""
    told: set[int] = set()
    with suppress(TimeoutError):
        async with asyncio.timeout(_SETTLE):
            while running := set(supervisors(proxy)):
                for pid in running - told:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGTERM)
                told |= running
                await asyncio.sleep(0.05)
    for pid in supervisors(proxy):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # the children end with it
    await asyncio.to_thread(proxy.stop)


def supervisors(proxy: Synproxy) -> list[int]:
    """The processes that were started with this configuration file, which is in a directory of its
    own. While an upgrade goes on, no pid file names all of them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.fsencode(proxy.file) in (process / "cmdline").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def held(state: dict[str, Any]) -> int:
    return sum(child["connections"] for child in state["each"])


def connections_of(pid: int, port: int) -> int:
    """The accepted connections of a process: those of its sockets that are of our port."""
    inodes = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            inodes.add(os.readlink(fd))
    count = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        listens = fields[3] == "0A"
        ours = int(fields[1].partition(":")[2], 16) == port
        count += ours and not listens and f"socket:[{fields[9]}]" in inodes
    return count


async def reload(path: Path, report: Report, numbers: Numbers, say: Callable[[str], None]) -> None:
    await ask(path, "reload")
    report.reloads += 1


async def upgrade(path: Path, report: Report, numbers: Numbers, say: Callable[[str], None]) -> None:
    before = (await ask(path, "status"))["pid"]
    await ask(path, "upgrade")
    state = await until(lambda state: state["pid"] != before and len(state["children"]) == 2, path)
    report.upgrades += 1
    say(f"upgrade {report.upgrades}: process {before} became {state['pid']}")


async def crash(path: Path, report: Report, numbers: Numbers, say: Callable[[str], None]) -> None:
    state = await until(lambda state: len(state["each"]) == 2, path)
    victim = random.choice(state["each"])["pid"]
    os.kill(victim, signal.SIGSTOP)  # so that what is counted is what is lost
    had = connections_of(victim, numbers.port)
    os.kill(victim, signal.SIGKILL)
    state = await until(
        lambda state: len(state["children"]) == 2 and victim not in state["children"], path
    )
    report.held_by_killed += had
    report.crashes += 1
    say(f"crash {report.crashes}: child {victim} had {had} connections")


def judge_wrk(report: Report) -> None:
    """wrk's own count of what went wrong."""
    total = re.search(r"(\d+) requests in", report.wrk)
    assert total is not None, report.wrk
    report.requests = int(total[1])
    if errors := re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", report.wrk):
        report.refused += int(errors[1])
        report.failed += sum(map(int, errors.groups()[1:]))
    if other := re.search(r"Non-2xx or 3xx responses: (\d+)", report.wrk):
        report.failed += int(other[1])


def main() -> int:
    """The full numbers."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    numbers = Numbers(syncs=2000, reloads=20, upgrades=5, crashes=5, hold=(5.0, 10.0), pause=1.0)
    with tempfile.TemporaryDirectory(prefix="syn", dir="/tmp") as directory:
        report = asyncio.run(endure(Path(directory), numbers, print))
        log = (Path(directory) / "synproxy.out").read_text()
    sys.stdout.write(json.dumps(vars(report), indent=2) + "\n")
    good = report.refused == 0 and report.failed <= report.held_by_killed
    if not good:
        sys.stdout.write(log[-6000:])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
