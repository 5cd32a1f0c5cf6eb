"""(j) What a proxy adds to the latency of one request after the other, beside none at all.

Every request goes to the worker's socket and through the proxy in turn, so that both see the same
moods of the machine. The worker is the stand-in, or a real Synapse.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable

from bench.lib import matrix, stats
from bench.lib.result import Row, Sample
from bench.lib.stage import Case, Meter, Stage
from bench.lib.synapse import account

UNTIMED = 20
"""Exchanges at the beginning, which open connections and fill caches."""


def run(stage: Stage) -> list[Sample]:
    """With the stand-in: every answer is that of its own request."""

    def request(number: int) -> bytes:
        return matrix.sync_request(f"check{number}", 0, "user1")

    def right(number: int, body: bytes) -> bool:
        return matrix.unseal(body)["next_batch"] == f"check{number}_next"

    return _measure(stage, "j", stage.settings.exchanges, request, right)


def run_synapse(stage: Stage) -> list[Sample]:
    """With Synapse: an incremental sync in which nothing is new."""
    user = account(stage.directory)
    target = f"/_matrix/client/v3/sync?since={user.since}&timeout=0"
    head = matrix.REQUEST_HEAD.format(target=target, token=user.token)
    forwarded = "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n\r\n"
    message = (head.removesuffix("\r\n") + forwarded).encode()

    def right(number: int, body: bytes) -> bool:
        return str(json.loads(body)["next_batch"]).startswith("s")

    exchanges = stage.settings.exchanges // 4
    return _measure(stage, "j synapse", exchanges, lambda number: message, right)


def _measure(
    stage: Stage,
    row: str,
    exchanges: int,
    request: Callable[[int], bytes],
    right: Callable[[int, bytes], bool],
) -> list[Sample]:
    direct: list[float] = []
    proxied: list[float] = []
    problems: list[str] = []
    meter = Meter(stage.running.pids(), stage.settings)
    with socket.socket(socket.AF_UNIX) as worker, socket.socket() as proxy:
        worker.connect(f"{stage.directory}/normal_sync1.sock")
        proxy.connect(("127.0.0.1", stage.port))
        for connection in (worker, proxy):
            connection.settimeout(30)
        ways = [(worker, direct), (proxy, proxied)]
        for number in range(exchanges + UNTIMED):
            ways.reverse()  # neither is always the second, when the worker is still tidying up
            for connection, latencies in ways:
                took, body = _exchange(connection, request(number))
                if number >= UNTIMED:
                    latencies.append(took)
                try:
                    if not right(number, body):
                        problems.append(f"the answer of another request: {body[:60]!r}")
                except (ValueError, KeyError) as error:
                    problems.append(f"{type(error).__name__}: {error}")
    _, foreign = meter.read()
    return [
        Sample(
            f"{row} p{percent}",
            stage.proxy.name,
            stats.percentile(proxied, percent) - stats.percentile(direct, percent),
            p50=stats.percentile(proxied, 50),
            p99=stats.percentile(proxied, 99),
            foreign=foreign,
            checked=len(proxied),
            problems=tuple(dict.fromkeys(problems)),
        )
        for percent in (50, 99)
    ]


def _exchange(connection: socket.socket, request: bytes) -> tuple[float, bytes]:
    """Milliseconds from request to whole answer, and its body, which must be chunked.

    Raises ConnectionError for anything else than a whole 200.
    """
    began = time.perf_counter()
    connection.sendall(request)
    data = b""
    while not data.endswith(b"\r\n0\r\n\r\n"):
        block = connection.recv(65536)
        if not block:
            raise ConnectionError("closed before the end of an answer")
        data += block
    took = (time.perf_counter() - began) * 1e3
    if not data.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(f"answered {data[:80]!r}")
    return took, matrix.unchunk(data.partition(b"\r\n\r\n")[2])


def _rows(key: str, worker: str) -> tuple[Row, ...]:
    return (
        Row(f"{key} p50", f"added latency, p50 ({worker})", "ms"),
        Row(f"{key} p99", f"added latency, p99 ({worker})", "ms", relative=False),
    )


CASES = (
    Case("j", _rows("j", "stand-in worker"), run, tools=()),
    Case(
        "j/synapse",
        _rows("j synapse", "real Synapse worker"),
        run_synapse,
        quick=False,
        synapse=True,
        tools=(("redis-server", "redis-server"),),
    ),
)
