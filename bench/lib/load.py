"""Load and checks for the comparison: wrk for the numbers, a slow careful client for the truth."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from bench.lib import matrix, procs, proxies
from bench.lib.standin import read_control


@dataclass(frozen=True, slots=True)
class WrkResult:
    """What wrk saw. Latencies in microseconds."""

    requests: int
    seconds: float
    p50: int
    p99: int
    errors: int


def wrk(port: int, seconds: int, connections: int, users: int, core: int) -> WrkResult:
    """Runs wrk with one thread per user, so that a connection keeps its token."""
    target = "/_matrix/client/v3/sync?since={SINCE}&timeout=0"
    head = matrix.REQUEST_HEAD.format(target=target, token="{TOKEN}")
    tokens = " ".join(matrix.token(f"user{number}") for number in range(users))
    command = ["wrk", f"-t{users}", f"-c{connections}", f"-d{seconds}s", "--latency"]
    command += ["-s", str(proxies.BENCH / "sync.lua"), f"http://127.0.0.1:{port}/"]
    environment = {**os.environ, "BENCH_HEAD": head, "BENCH_TOKENS": tokens}
    with procs.pinned(core):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    output = process.communicate()[0]
    found = json.loads(output.strip().splitlines()[-1])
    errors = sum(found[kind] for kind in ("connect", "read", "write", "timeout", "status"))
    return WrkResult(found["requests"], found["seconds"], found["p50_us"], found["p99_us"], errors)


class Checker(threading.Thread):
    """Sends a checked request every 50 ms until stopped; ``problems`` must stay empty."""

    def __init__(self, port: int, forwards_headers: bool) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._forwards_headers = forwards_headers
        self._ended = threading.Event()
        self.checked = 0
        self.problems: list[str] = []

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        while not self._ended.wait(0.05):
            try:
                self._check(connection)
            except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
                self.problems.append(f"{type(error).__name__}: {error}")
                connection.close()
            self.checked += 1
        connection.close()

    def _check(self, connection: http.client.HTTPConnection) -> None:
        since = f"check{random.randrange(10**12)}"
        user = f"user{random.randrange(100)}"
        target = f"/_matrix/client/v3/sync?since={since}&timeout=0&filter=%7B%22a%22%3A1%7D"
        sent = {
            "Host": matrix.HOST,
            "Authorization": f"Bearer {matrix.token(user)}",
            "Origin": "https://app.element.io",
            "Accept-Encoding": "identity",
        }
        connection.request("GET", target, headers=sent)
        answer = connection.getresponse()
        content = matrix.unseal(answer.read())
        self._expect(answer.status, 200, "status")
        self._expect(content["next_batch"], f"{since}_next", "next_batch")
        expected = matrix.ANSWER_HEAD.split("\r\n")[4:-2]
        for line in expected:
            name, _, value = line.partition(": ")
            self._expect(answer.headers.get_all(name), [value], name)
        if self._forwards_headers:
            self._check_forwarded(str(content["head"]), target, sent)

    def _check_forwarded(self, head: str, target: str, sent: dict[str, str]) -> None:
        lines = head.split("\r\n")
        self._expect(lines[0], f"GET {target} HTTP/1.1", "request line")
        got: dict[str, list[str]] = {}
        for line in lines[1:-2]:
            name, _, value = line.partition(":")
            got.setdefault(name.lower(), []).append(value.strip())
        self._expect(got.get("host"), [matrix.HOST], "Host")
        self._expect(got.get("authorization"), [sent["Authorization"]], "Authorization")
        self._expect(got.get("origin"), [sent["Origin"]], "Origin")
        self._expect(got.get("x-forwarded-for"), ["127.0.0.1"], "X-Forwarded-For")
        self._expect(got.get("x-forwarded-proto"), ["http"], "X-Forwarded-Proto")
        self._expect(got.get("accept-encoding"), None, "Accept-Encoding")

    def _expect(self, got: object, wanted: object, what: str) -> None:
        if got != wanted:
            self.problems.append(f"{what}: {got!r} instead of {wanted!r}")


def control(directory: Path) -> dict[str, int]:
    """The stand-in's counters: requests, connections, held, lost_while_held."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{directory}/control.sock")
        connection.sendall(b"GET /control HTTP/1.1\r\n\r\n")
        data = b""
        while not data.endswith(b"\r\n0\r\n\r\n"):
            data += connection.recv(65536)
    body = data.partition(b"\r\n\r\n")[2].partition(b"\r\n")[2]
    return read_control(body[: body.index(b"\r\n")])
