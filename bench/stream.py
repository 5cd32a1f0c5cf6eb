"""Large uploads and downloads through a proxy: memory it takes, CPU per GB, and back-pressure.

Both ends hash what they send and receive. Writes bench/results/stream.md.
"""

from __future__ import annotations

import argparse
import hashlib
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httptools

from bench.lib import matrix, pattern, procs, proxies, table

MEBI = 1 << 20
TARGET = 30 * MEBI  # growth of the peak RSS


@dataclass(frozen=True, slots=True)
class Case:
    """One transfer. ``rate``: bytes per second that the receiving end takes; 0: no limit."""

    direction: str
    framing: str
    size: int
    rate: int

    @property
    def name(self) -> str:
        speed = f", receiver at {self.rate / 1e6:g} MB/s" if self.rate else ""
        return f"{self.direction}, {self.framing}{speed}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one transfer cost. Bytes and seconds."""

    size: int
    growth: int
    cpu: procs.Cpu
    seconds: float
    problem: str


def cases(options: argparse.Namespace) -> list[Case]:
    """Both directions and framings at full speed, and with a slow receiver."""
    rate = round(options.slow_rate * 1e6)
    return [
        Case(direction, framing, size, limit)
        for size, limit in ((round(options.size * 1e9), 0), (round(options.slow_size * 1e9), rate))
        for direction in ("upload", "download")
        for framing in ("length", "chunked")
    ]


class Answer:
    """Receives one answer, hashes its body, and keeps the beginning of it."""

    def __init__(self) -> None:
        self.beginning = b""
        self.length = 0
        self.complete = False
        self._hash = hashlib.sha256()
        self._parser = httptools.HttpResponseParser(self)

    def receive(self, connection: socket.socket, rate: int) -> None:
        """Reads to the end, at most ``rate`` bytes a second; raises OSError when it is cut."""
        began = time.monotonic()
        while not self.complete:
            data = connection.recv(pattern.BLOCK)
            if not data:
                raise ConnectionError(f"closed after {self.length} bytes of the body")
            self._parser.feed_data(data)
            if rate:
                time.sleep(max(0.0, self.length / rate - (time.monotonic() - began)))
        if self._parser.get_status_code() != 200:
            raise ConnectionError(f"answered {self._parser.get_status_code()}")

    def on_body(self, body: bytes) -> None:
        self._hash.update(body)
        self.length += len(body)
        if len(self.beginning) < 4096:
            self.beginning += body

    def on_message_complete(self) -> None:
        self.complete = True

    def sha256(self) -> str:
        return self._hash.hexdigest()


def measure(running: proxies.Running, case: Case) -> Outcome:
    """One transfer through a running proxy."""
    expected = {"sha256": pattern.sha256(case.size), "bytes": case.size}
    transfer = _upload if case.direction == "upload" else _download
    pids = running.pids()
    rss = procs.current_rss(pids)
    procs.reset_peak(pids)
    cpu = procs.cpu(pids)
    began = time.monotonic()
    problem = ""
    try:
        with socket.create_connection(("127.0.0.1", running.port), timeout=120) as connection:
            got = transfer(connection, case)
        if got != expected:
            problem = f"got {got} instead of {expected}"
    except (OSError, ValueError, httptools.HttpParserError) as error:
        problem = f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - began
    return Outcome(case.size, procs.peak_rss(pids) - rss, procs.cpu(pids) - cpu, seconds, problem)


def _head(method: str, target: str, fields: str = "") -> bytes:
    token = matrix.token("user1")
    lines = f"{method} {target} HTTP/1.1\r\nHost: {matrix.HOST}\r\nAuthorization: Bearer {token}"
    return f"{lines}\r\n{fields}\r\n".encode()


def _upload(connection: socket.socket, case: Case) -> dict[str, object]:
    """Sends as fast as it goes; returns what the worker says that it received."""
    chunked = case.framing == "chunked"
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {case.size}"
    target = f"/_matrix/media/v3/upload?filename=a.bin&rate={case.rate}"
    fields = f"Content-Type: application/octet-stream\r\n{framing}\r\n"
    connection.sendall(_head("POST", target, fields))
    for block in pattern.blocks(case.size):
        connection.sendall(b"%x\r\n%s\r\n" % (len(block), block) if chunked else block)
    if chunked:
        connection.sendall(b"0\r\n\r\n")
    answer = Answer()
    answer.receive(connection, 0)
    return matrix.unseal(answer.beginning)


def _download(connection: socket.socket, case: Case) -> dict[str, object]:
    """Receives no faster than the case says; returns what came."""
    target = "/_matrix/client/v1/media/download/example.org/stream"
    connection.sendall(_head("GET", f"{target}?bytes={case.size}&framing={case.framing}"))
    answer = Answer()
    answer.receive(connection, case.rate)
    return {"sha256": answer.sha256(), "bytes": answer.length}


def report(outcomes: dict[str, dict[Case, Outcome]], options: argparse.Namespace) -> str:
    """The whole text of bench/results/stream.md."""

    def row(case: Case, name: str) -> list[str]:
        one = outcomes[name][case]
        gigabytes = one.size / 1e9
        return [
            f"{case.name}: {name}",
            f"{gigabytes:g}",
            f"{one.growth / MEBI:.1f}",
            f"{one.cpu.user / gigabytes:.2f}",
            f"{one.cpu.system / gigabytes:.2f}",
            f"{one.cpu.total / gigabytes:.2f}",
            f"{one.size / one.seconds / 1e6:.0f}",
            "WRONG" if one.problem else "right",
        ]

    header = ["transfer: proxy", "GB", "peak RSS growth MiB", "user s/GB", "sys s/GB"]
    header += ["CPU s/GB", "MB/s", "content"]
    rows = [row(case, name) for case in cases(options) for name in outcomes]
    problems = [
        f"- {name}, {case.name}: {one.problem}\n"
        for name, several in outcomes.items()
        for case, one in several.items()
        if one.problem
    ]
    return "".join(
        [
            "# Large bodies\n\n",
            "One transfer at a time; SHA-256 compared at the end. Peak RSS growth is VmHWM ",
            "(reset before each transfer) minus the RSS before. The rate in MB/s is mostly that ",
            "of the two hashing ends, which share a core.\n\n",
            table.markdown(header, rows),
            f"\nTarget for synproxy: less than {TARGET // MEBI} MiB.\n\n",
            "".join(problems) + "\n" if problems else "",
            f"CPU time, {procs.CPU_SOURCE}.\n\n",
            "".join(f"- {name}: {proxies.ALL[name].about}\n" for name in outcomes),
            "- nginx buffers uploads first (client_body_buffer_size 32m, then a file), as the ",
            "seed does\n\n",
            table.environment({}, proxies.interpreter()),
        ]
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--proxies", default="nginx,haproxy,synproxy")
    parser.add_argument("--size", type=float, default=1.0, help="GB, at full speed")
    parser.add_argument("--slow-size", type=float, default=0.25, help="GB, to a slow receiver")
    parser.add_argument("--slow-rate", type=float, default=50.0, help="of a slow receiver, MB/s")
    parser.add_argument("--proxy-core", type=int, default=1)
    parser.add_argument("--load-core", type=int, default=0)
    parser.add_argument("--output", default="stream.md", help="file name in bench/results")
    parser.add_argument("--install", action="store_true", help="apt-get install what is missing")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    chosen = proxies.named(options.proxies)
    proxies.require_tools(chosen, [], options.install)
    proxies.raise_file_limit()
    outcomes: dict[str, dict[Case, Outcome]] = {proxy.name: {} for proxy in chosen}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        with proxies.standin(directory, options.load_core):
            for proxy in chosen:
                for case in cases(options):  # each starts with a fresh proxy: no memory left over
                    with (
                        proxies.running(proxy, directory, options.proxy_core) as running,
                        procs.pinned(options.load_core),
                    ):
                        done = outcomes[proxy.name][case] = measure(running, case)
                    sys.stderr.write(f"{proxy.name}, {case.name}: {done.seconds:.1f} s\n")
    table.write(options.output, report(outcomes, options))
    wrong = [one for several in outcomes.values() for one in several.values() if one.problem]
    ours = outcomes.get("synproxy", {})
    if wrong or any(one.growth >= TARGET for one in ours.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
