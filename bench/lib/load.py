"""Load from wrk and h2load, and what they saw."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.lib import matrix, procs, stats
from bench.lib.running import BENCH


@dataclass(frozen=True, slots=True)
class Load:
    """What a load generator saw. Latencies in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Clients:
    """How the load arrives: a user has a thread of wrk and a token of his own."""

    cores: Sequence[int]
    connections: int = 16
    users: int = 4


def wrk(
    url: str, requests: Sequence[bytes], seconds: int, clients: Clients, directory: Path
) -> Load:
    """Keep-alive requests for ``seconds``; ``requests`` hold {TOKEN} and {N} (requests.lua)."""
    script = directory / "requests.bin"
    script.write_bytes(b"\0".join(requests))
    command = ["wrk", f"-t{clients.users}", f"-c{clients.connections}", f"-d{seconds}s"]
    command += ["--latency", "--timeout", "10s", "-s", str(BENCH / "requests.lua"), url]
    tokens = " ".join(matrix.token(f"user{number}") for number in range(clients.users))
    environment = {**os.environ, "BENCH_REQUESTS": str(script), "BENCH_TOKENS": tokens}
    with procs.pinned(clients.cores):
        done = subprocess.run(
            command, stdout=subprocess.PIPE, env=environment, text=True, check=True
        )
    return read_wrk(done.stdout)


def read_wrk(output: str) -> Load:
    """The summary that requests.lua prints last."""
    found = json.loads(output.strip().splitlines()[-1])
    errors = {kind: found[kind] for kind in ("connect", "read", "write", "timeout", "status")}
    problems = tuple(
        f"wrk counted {count} {kind} errors" for kind, count in errors.items() if count
    )
    return Load(
        found["requests"], found["seconds"], found["p50_us"] / 1e3, found["p99_us"] / 1e3, problems
    )


def h2load(
    url: str, targets: Sequence[str], seconds: int, clients: Clients, directory: Path
) -> Load:
    """HTTP/2 requests for ``seconds``, ten streams at a time on each connection."""
    uris, log = directory / "uris.txt", directory / "h2load.log"
    uris.write_text("".join(f"{url}{target}\n" for target in targets))
    log.unlink(missing_ok=True)
    command = ["h2load", "-c", str(clients.connections), "-m", "10", "-t", "1"]
    command += ["-D", str(seconds), "--log-file", str(log), "-i", str(uris)]
    for line in matrix.REQUEST_HEAD.split("\r\n")[2:-2]:
        if not line.startswith("Connection:"):
            command += ["-H", line.format(token=matrix.token("user0"))]
    command += ["-H", f":authority: {matrix.HOST}"]
    with procs.pinned(clients.cores):
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return read_h2load(done.stdout, log.read_text(), seconds)


def read_h2load(output: str, log: str, seconds: int) -> Load:
    """h2load's summary, and its log: start, status and microseconds of each request.

    Raises ValueError when it is not the output of h2load.
    """
    counts = re.search(r"requests: .*?(\d+) succeeded, (\d+) failed, (\d+) errored", output)
    statuses = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    if counts is None or statuses is None:
        raise ValueError(f"not the output of h2load: {output[-300:]}")
    latencies = [int(line.split("\t")[2]) / 1e3 for line in log.splitlines()]
    problems = []
    if int(counts[2]) or int(counts[3]):
        problems.append(f"h2load counted {counts[2]} failed and {counts[3]} errored")
    if any(int(statuses[kind]) for kind in (2, 3, 4)):
        problems.append(f"answers that are not 2xx: {statuses[0]}")
    return Load(
        int(counts[1]),
        seconds,
        stats.percentile(latencies, 50),
        stats.percentile(latencies, 99),
        tuple(problems),
    )
