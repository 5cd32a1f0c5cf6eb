"""(j) What a proxy adds to the latency of one request after the other, beside none at all.

Every request goes to the worker's socket and through the proxy in turn, so that both see the same
moods of the machine.
"""

from __future__ import annotations

import socket
import time

from bench.lib import matrix, stats
from bench.lib.result import Row, Sample
from bench.lib.stage import Case, Meter, Stage

P50 = Row("j p50", "added latency, p50 (stand-in worker)", "ms")
P99 = Row("j p99", "added latency, p99 (stand-in worker)", "ms")


def run(stage: Stage) -> list[Sample]:
    direct: list[float] = []
    proxied: list[float] = []
    problems: list[str] = []
    meter = Meter(stage.running.pids(), stage.settings)
    with socket.socket(socket.AF_UNIX) as worker, socket.socket() as proxy:
        worker.connect(f"{stage.directory}/normal_sync1.sock")
        proxy.connect(("127.0.0.1", stage.port))
        for number in range(stage.settings.exchanges + 20):
            for connection, latencies in ((worker, direct), (proxy, proxied)):
                took, problem = _exchange(connection, f"check{number}")
                if number >= 20:  # the first open connections and fill caches
                    latencies.append(took)
                if problem:
                    problems.append(problem)
    _, foreign = meter.read()
    samples = []
    for row, percent in ((P50, 50), (P99, 99)):
        through = stats.percentile(proxied, percent)
        samples.append(
            Sample(
                row.key,
                stage.proxy.name,
                through - stats.percentile(direct, percent),
                p50=stats.percentile(proxied, 50),
                p99=stats.percentile(proxied, 99),
                foreign=foreign,
                checked=len(proxied),
                problems=tuple(dict.fromkeys(problems)),
            )
        )
    return samples


def _exchange(connection: socket.socket, since: str) -> tuple[float, str]:
    """Milliseconds from request to whole answer, and what was wrong with it."""
    request = matrix.sync_request(since, 0, "user1")
    began = time.perf_counter()
    connection.sendall(request)
    data = b""
    while not data.endswith(b"\r\n0\r\n\r\n"):
        block = connection.recv(65536)
        if not block:
            raise ConnectionError("closed before the end of an answer")
        data += block
    took = (time.perf_counter() - began) * 1e3
    body = data.partition(b"\r\n\r\n")[2].partition(b"\r\n")[2]
    try:
        got = matrix.unseal(body[: body.index(b"\r\n")])["next_batch"]
    except (ValueError, KeyError) as error:
        return took, str(error)
    return took, "" if got == f"{since}_next" else f"the answer of {got}"


CASES = (Case("j", (P50, P99), run, tools=()),)
