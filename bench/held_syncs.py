"""What thousands of held syncs cost a proxy in memory, and whether each gets its answer.

Every client has a connection of its own and a long poll on it; short requests go on meanwhile.
Writes bench/results/held_syncs.md.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop

from bench.lib import load, matrix, procs, proxies, table

MEBI = 1 << 20
TARGET = 6000  # bytes per held sync


class Client(asyncio.Protocol):
    """A connection that carries one request at a time and checks its answer."""

    __slots__ = ("answers", "data", "done", "expected", "sent", "tally", "transport")
    transport: asyncio.Transport

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.data = b""
        self.expected = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's has no such base

    def ask(self, since: str, timeout_ms: int) -> None:
        """Sends a sync; its answer is counted in the tally."""
        if self.expected:
            self.tally.late += 1  # the one before is still unanswered: skip this turn
            return
        self.data = b""
        self.expected = f"{since}_next"
        self.sent = time.monotonic()
        self.transport.write(matrix.sync_request(since, timeout_ms, since))

    def data_received(self, data: bytes) -> None:
        self.data += data
        if not self.data.endswith(b"\r\n0\r\n\r\n"):
            return
        self.tally.seconds.append(time.monotonic() - self.sent)
        problem = _wrong(self.data, self.expected)
        self.data = b""  # what the clients keep is not to be mistaken for the proxy's memory
        self.expected = ""
        if problem:
            self.tally.problems.append(problem)
        else:
            self.tally.right += 1

    def connection_lost(self, exc: Exception | None) -> None:
        if self.expected:
            self.tally.problems.append(f"closed before the answer: {exc} {self.data[:80]!r}")
            self.expected = ""


@dataclass(slots=True)
class Tally:
    """How a group of requests fared."""

    right: int = 0
    late: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def ended(self) -> int:
        return self.right + len(self.problems)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One proxy. Memory in bytes, of all its processes."""

    before: procs.Memory
    start: procs.Memory  # all held
    end: procs.Memory  # shortly before the first is answered
    after: procs.Memory  # all answered, connections idle
    closed: procs.Memory  # clients gone
    cpu_per_second: float
    held_tally: Tally
    short_tally: Tally


def _wrong(data: bytes, expected: str) -> str:
    head, _, rest = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        return f"answered {head[:40]!r}"
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        body += rest[:length]
        rest = rest[length + 2 :]
    try:
        got = matrix.unseal(body)["next_batch"]
    except (ValueError, KeyError) as error:
        return f"bad body: {error}"
    return "" if got == expected else f"answer of another request: {got} instead of {expected}"


async def _connect(port: int, count: int, tally: Tally) -> list[Client]:
    loop = asyncio.get_running_loop()

    async def one() -> Client:
        _, client = await loop.create_connection(lambda: Client(tally), "127.0.0.1", port)
        return client

    return [await one() for _ in range(count)]


async def _short_requests(clients: list[Client], rate: float) -> None:
    """One request every 1/``rate`` seconds, until cancelled. They are checked ones."""
    number = 0
    due = time.monotonic()
    while True:
        clients[number % len(clients)].ask(f"check{number}", 0)
        number += 1
        due += 1 / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    """Looks every 0.1 s (the books are another process's); gives up after ``seconds``."""
    for _ in range(round(seconds * 10)):
        if condition():
            return
        await asyncio.sleep(0.1)


async def measure(
    running: proxies.Running, directory: Path, options: argparse.Namespace
) -> Outcome:
    """The whole course for one proxy: warm up, hold, answer, idle, close."""
    short, held = Tally(), Tally()
    short_clients = await _connect(running.port, options.short_connections, short)
    traffic = asyncio.create_task(_short_requests(short_clients, options.rate))
    await asyncio.sleep(options.settle)
    pids = running.pids()
    before = procs.memory(pids)

    began = time.monotonic()
    clients: list[Client] = []
    timeout_ms = round(options.hold * 1000)
    while len(clients) < options.syncs:
        batch = await _connect(running.port, min(50, options.syncs - len(clients)), held)
        for number, client in enumerate(batch, len(clients)):
            client.ask(f"held{number}", timeout_ms)
        clients += batch
        await asyncio.sleep(0.02)
    await _until(lambda: load.control(directory)["held"] >= options.syncs, 15)
    start = procs.memory(pids)
    cpu_start, clock_start = procs.cpu(pids), time.monotonic()

    await asyncio.sleep(max(0.0, began + options.hold - 2 - time.monotonic()))
    end = procs.memory(pids)
    cpu = (procs.cpu(pids) - cpu_start).total / (time.monotonic() - clock_start)

    await _until(lambda: held.ended >= options.syncs, options.hold + 30)
    await asyncio.sleep(options.settle)
    after = procs.memory(pids)
    for client in clients:
        client.transport.close()
    await asyncio.sleep(options.settle)
    closed = procs.memory(pids)
    traffic.cancel()
    for client in short_clients:
        client.transport.close()
    return Outcome(before, start, end, after, closed, cpu, held, short)


def report(outcomes: dict[str, Outcome], options: argparse.Namespace) -> str:
    """The whole text of bench/results/held_syncs.md."""

    def growth(later: procs.Memory, earlier: procs.Memory) -> str:
        return f"{(later.pss - earlier.pss) / options.syncs / 1000:.2f}"

    def row(name: str) -> list[str]:
        one = outcomes[name]
        short = sorted(one.short_tally.seconds)
        return [
            name,
            f"{one.before.pss / MEBI:.1f}",
            growth(one.start, one.before),
            growth(one.end, one.before),
            f"{(one.end.private - one.before.private) / options.syncs / 1000:.2f}",
            growth(one.after, one.before),
            f"{(one.closed.pss - one.before.pss) / MEBI:.1f}",
            f"{options.syncs - one.held_tally.right}",
            f"{len(one.short_tally.problems)} of {one.short_tally.ended}",
            f"{one.short_tally.late}",
            f"{statistics.median(short) * 1000:.2f}",
            f"{short[int(len(short) * 0.99)] * 1000:.2f}",
            f"{one.cpu_per_second * 100:.1f}",
        ]

    header = [
        *("proxy", "PSS before MiB", "kB/sync, all held", "kB/sync, end of hold"),
        *("private kB/sync", "kB/idle conn after", "MiB kept when closed", "syncs lost"),
        *("short errors", "short late", "short p50 ms", "p99 ms", "CPU % while held"),
    ]
    problems = [
        f"- {name}: {problem}\n"
        for name, one in outcomes.items()
        for problem in (one.held_tally.problems + one.short_tally.problems)[:5]
    ]
    return "".join(
        [
            "# Held syncs\n\n",
            f"{options.syncs} clients with a sync held for {options.hold:g} s, ",
            f"{options.rate:g} short requests/s on {options.short_connections} other connections. ",
            "Memory is PSS of all processes of the proxy (private: unshared pages), growth since ",
            "just before the first held sync, in 1000 bytes per sync; kernel socket buffers are ",
            "not in it. Lost: not answered with the right content.\n\n",
            table.markdown(header, [row(name) for name in outcomes]),
            f"\nTarget: less than {TARGET / 1000:g} kB each, none lost.\n\n",
            "".join(problems) + "\n" if problems else "",
            "".join(f"- {name}: {proxies.ALL[name].about}\n" for name in outcomes),
            "\n",
            table.environment({}, proxies.interpreter()),
        ]
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--proxies", default="nginx,haproxy,synproxy")
    parser.add_argument("--syncs", type=int, default=5000)
    parser.add_argument("--hold", type=float, default=60.0, help="seconds")
    parser.add_argument("--rate", type=float, default=200.0, help="short requests per second")
    parser.add_argument("--short-connections", type=int, default=8)
    parser.add_argument("--settle", type=float, default=3.0, help="seconds before each reading")
    parser.add_argument("--proxy-core", type=int, default=1)
    parser.add_argument("--load-core", type=int, default=0)
    parser.add_argument("--output", default="held_syncs.md", help="file name in bench/results")
    parser.add_argument("--install", action="store_true", help="apt-get install what is missing")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    chosen = proxies.named(options.proxies)
    proxies.require_tools(chosen, [], options.install)
    limit = proxies.raise_file_limit()
    if limit < 2 * options.syncs + 200:
        sys.exit(f"{options.syncs} syncs need {2 * options.syncs + 200} open files, not {limit}")
    outcomes = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        for proxy in chosen:
            with (
                proxies.standin(directory, options.load_core),
                proxies.running(proxy, directory, options.proxy_core) as running,
                procs.pinned(options.load_core),
            ):
                outcomes[proxy.name] = uvloop.run(measure(running, directory, options))
    table.write(options.output, report(outcomes, options))
    ours = outcomes.get("synproxy")
    lost = [name for name, one in outcomes.items() if one.held_tally.right < options.syncs]
    if lost or (ours and (ours.end.pss - ours.before.pss) / options.syncs >= TARGET):
        sys.exit(1)


if __name__ == "__main__":
    main()
