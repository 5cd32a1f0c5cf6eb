"""The Python of one proxied request, without sockets: what the code itself costs.

Both transports are fakes that throw away what is written, so that no system call and no other
process blurs the figure; run it before and after a change to the hot path.
`python -m bench.micro --profile` lists the functions, `--instructions` counts instructions under
callgrind (Debian's valgrind), which other programs on the machine do not touch. `--workload send`
is a PUT with a body, to another path and of another length than the one before, `--workload http2`
a sync on a stream of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import pstats
import re
import subprocess
import sys
import tempfile
import time
from typing import cast

import hpack

from bench.lib import matrix
from bench.lib.setup import Setup
from synproxy.config.loader import loads
from synproxy.core.wheel import TimerWheel
from synproxy.downstream.connection import ClientConnection
from synproxy.downstream.http2 import Http2Connection
from synproxy.observe.metrics import Metrics
from synproxy.proxy.generation import Generation
from synproxy.proxy.handler import ProxyHandler
from synproxy.upstream.connection import ServerConnection
from synproxy.wire import http2

CONFIG = """\
listeners: ["127.0.0.1:8008"]
http: {keepalive_requests: 1000000000}
maps:
  sync: {source: $arg_since, values: {"": initial_sync}, default: normal_sync}
  by_parameter: {source: $arg_access_token, default: $arg_access_token}
  mxid_localpart:
    source: $http_authorization
    values: {"~Bearer syt_(?<username>.*?)_.*": $username, "": $by_parameter}
    default: $http_authorization
pools:
  initial_sync: {servers: ["unix:/a"], keepalive_requests: 1000000000}
  normal_sync:
    balance: {hash: $mxid_localpart}
    servers: ["unix:/b", "unix:/c", "unix:/d"]
    keepalive_requests: 1000000000
"""
DIFFERENT = {"sync": 512, "send": 8192, "http2": 512}
"""How many different requests there are: as many as a memo of decisions forgets between two."""

TICK = 2000
"""Requests between two ticks of a child, in which it adds up what it has counted: as many as a busy
one serves in that time."""


class Sink:
    """A transport that swallows what is written."""

    def write(self, data: bytes) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> object:
        return ("127.0.0.1", 50000) if name == "peername" else None

    def abort(self) -> None:
        pass


def requests(workload: str) -> list[bytes]:
    """As a client sends them one after the other."""
    numbers = range(DIFFERENT[workload])
    if workload == "send":
        return [
            matrix.send_request(
                f"m179{number}.1", matrix.token("alice"), matrix.send_body("x" * (number * 7 % 999))
            )
            for number in numbers
        ]
    return [
        matrix.REQUEST_HEAD.format(
            target=f"/_matrix/client/v3/sync?since=s{number}_757284974_4483&timeout=30000",
            token=matrix.token("alice"),
        ).encode()
        for number in numbers
    ]


def blocks(heads: list[bytes]) -> list[bytes]:
    """The same requests for HTTP/2, packed as nghttp2 does: all but the path is in its table."""
    encoder = hpack.Encoder()
    packed = []
    for head in heads:
        start, *lines = head.decode().rstrip().split("\r\n")
        method, path, _ = start.split(" ")
        fields = [line.split(": ", 1) for line in lines]
        named = {name.lower(): value for name, value in fields}
        named.pop("connection", None)
        host = named.pop("host")
        pseudo = [(":method", method), (":scheme", "https"), (":authority", host)]
        path_field = hpack.NeverIndexedHeaderTuple(":path", path)
        packed.append(encoder.encode([*pseudo, path_field, *named.items()]))
    return packed


def configuration(routes: int) -> str:
    """With the first ``routes`` of workload e; those of a and c are always among them."""
    table = [
        f"  - {{name: {route.name}, location: '~ {route.regex}', "
        f"pool: {route.pool if route.pool == '$sync' else 'normal_sync'}}}\n"
        for route in Setup(routes=routes).table()
    ]
    return f"{CONFIG}routes:\n{''.join(table)}"


def prepare(
    workload: str, metrics: Metrics | None, routes: int = 10
) -> tuple[ClientConnection | Http2Connection, list[ServerConnection], list[bytes]]:
    """A client, an idle connection to every server, and varied answers."""
    loop = asyncio.new_event_loop()
    wheel = TimerWheel(loop.time())
    generation = Generation(loads(configuration(routes), "micro"), wheel)
    handler = ProxyHandler(generation, wheel, loop, None)
    if metrics:
        handler.count_in(metrics)
    client = Http2Connection(handler) if workload == "http2" else ClientConnection(handler)
    client.connection_made(cast(asyncio.Transport, Sink()))
    if workload == "http2":
        window = http2.window_update(0, 2**30)
        client.data_received(http2.PREFACE + http2.settings({}) + window)
    pool = generation.pools["normal_sync"]
    servers = [ServerConnection(pool, index) for index in range(len(pool.settings.servers))]
    for server in servers:
        server.connection_made(cast(asyncio.Transport, Sink()))
        pool.release(server)
    loop.close()
    answers = []
    for number in range(512):
        date = f"Tue, 24 Nov 2026 05:{number % 60:02}:11 GMT"
        head = matrix.ANSWER_HEAD.format(date=date).encode()
        body = b'{"next_batch":"s%d"}' % number + b"x" * 1000
        answers.append(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    return client, servers, answers


def run(count: int, workload: str = "sync", *, metrics: bool = False, routes: int = 10) -> float:
    """Microseconds of CPU per request; ``metrics``: with an admin listener that counts."""
    counts = Metrics(time.monotonic) if metrics else None
    client, servers, answers = prepare(workload, counts, routes)
    wanted = requests("sync" if workload == "http2" else workload)
    mask = len(wanted) - 1
    if workload == "http2":
        return _run_http2(count, client, servers, blocks(wanted), answers)
    client.data_received(wanted[0])
    (server,) = [server for server in servers if server.sink is not None]
    server.data_received(answers[0])
    started = time.process_time()
    for first in range(0, count, TICK):
        for number in range(first, min(first + TICK, count)):
            client.data_received(wanted[number & mask])
            server.data_received(answers[number & 511])
        if counts is not None:
            counts.settle()
    used = time.process_time() - started
    assert client.requests == count + 1
    assert server.requests == count + 1
    return used / count * 1e6


def _run_http2(
    count: int,
    client: ClientConnection | Http2Connection,
    servers: list[ServerConnection],
    packed: list[bytes],
    answers: list[bytes],
) -> float:
    whole = http2.END_HEADERS | http2.END_STREAM
    client.data_received(http2.frame(http2.HEADERS, whole, 1, packed[0]))
    (server,) = [server for server in servers if server.sink is not None]
    server.data_received(answers[0])
    mask = len(packed) - 1
    started = time.process_time()
    for number in range(1, count + 1):
        # One block in 512 has more than an index for what is in the table since the first.
        block = packed[number & mask or 1]
        client.data_received(http2.frame(http2.HEADERS, whole, 2 * number + 1, block))
        server.data_received(answers[number & 511])
        if not number & 65535:
            client.data_received(http2.window_update(0, 2**26))
    used = time.process_time() - started
    assert client.requests == count + 1
    assert server.requests == count + 1
    return used / count * 1e6


def instructions(workload: str, metrics: bool, routes: int) -> float:
    """Instructions per request: what 2,000 requests more add to a run of 1,500, in which each of
    the 512 different syncs has come before."""
    subprocess.run([sys.executable, "-c", "import bench.micro"], check=True)  # compiles modules
    counts = []
    for count in (1500, 3500):
        with tempfile.NamedTemporaryFile() as output:
            options = f"metrics={metrics}, routes={routes}"
            code = f"import bench.micro; bench.micro.run({count}, {workload!r}, {options})"
            valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output.name}"]
            finished = subprocess.run(
                [*valgrind, sys.executable, "-c", code],
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, "PYTHONHASHSEED": "0"},
            )
        collected = re.search(r"Collected : (\d+)", finished.stderr)
        assert collected is not None
        counts.append(int(collected[1]))
    return (counts[1] - counts[0]) / 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workload", choices=DIFFERENT, default="sync")
    parser.add_argument("--metrics", action="store_true", help="count, as with an admin listener")
    parser.add_argument("--routes", type=int, default=10, help="from 10 to 200")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--instructions", action="store_true")
    args = parser.parse_args()
    if args.instructions:
        counted = instructions(args.workload, args.metrics, args.routes)
        print(f"{counted:,.0f} instructions per request")
        return
    if args.profile:
        profile = cProfile.Profile()
        profile.runcall(run, args.requests, args.workload, routes=args.routes)
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)
        return
    rounds = sorted(
        run(args.requests, args.workload, metrics=args.metrics, routes=args.routes)
        for _ in range(args.rounds)
    )
    print(f"least {rounds[0]:.2f}, median {rounds[len(rounds) // 2]:.2f} us of CPU per request")


if __name__ == "__main__":
    main()
