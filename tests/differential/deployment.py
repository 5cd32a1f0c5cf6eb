"""The seed's deployment twice: the stand-in Synapse processes, and either proxy before them.

Both proxies are given the same socket paths, because the consistent hash ring is made of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.differential.corpus import Case
from tests.support.client import Answer, Client
from tests.support.nginx import Nginx, read_tree
from tests.support.process import ProxyProcess
from tests.support.recorder import Recorder
from tests.support.synproxy import ROOT, Synproxy

SEED = Path(__file__).parent / "seed"
PARITY = ROOT / "config" / "seed-parity.yaml"
SOCKET = re.compile(r"unix:@SOCKETS@/(\S+\.sock)")
LISTEN = ("127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one case.

    The client saw ``status`` (0: closed without an answer), ``closes`` and ``body`` (empty for a
    proxy's own answer), the access log ``pool``, the servers ``attempts``: (server, head, body).
    """

    status: int
    closes: bool
    body: bytes
    pool: str
    attempts: tuple[tuple[str, bytes, bytes], ...]


def seed_sockets() -> list[str]:
    """The socket names of the seed's upstreams."""
    text = (SEED / "conf.d" / "upstreams.conf").read_text()
    return sorted(set(SOCKET.findall(text)))


def seed_nginx(directory: Path, sockets: Path) -> Nginx:
    """nginx with the seed's configuration."""
    listen = "".join(f"listen {address}:@PORT@; " for address in LISTEN)
    return Nginx(directory, read_tree(SEED), {"SOCKETS": str(sockets), "LISTEN": listen})


def seed_synproxy(directory: Path, sockets: Path, loop: str = "uvloop") -> Synproxy:
    """synproxy with config/seed-parity.yaml on other listeners, with another log.

    What the documented setup leaves out is added here as in seed/: the second media server, and
    the catch-all with its pool.
    """
    tree: dict[str, Any] = yaml.safe_load(PARITY.read_text())
    server = "unix:/run/matrix-synapse/inbound_{}.sock"
    tree["pools"]["media"]["servers"] = [server.format(f"media_repository{n}") for n in (1, 2)]
    tree["pools"]["main"] = {"keepalive": 10, "servers": [server.format("main")]}
    tree["routes"].append({"name": "main", "location": "/", "pool": "main"})
    tree["listeners"] = [{"listen": f"{address}:@PORT@"} for address in LISTEN]
    tree["access_log"] = {"path": "@RUN@/access.log", "format": "json", "flush": "100ms"}
    text = yaml.safe_dump(tree, sort_keys=False)
    return Synproxy(directory, text, {"/run/matrix-synapse": str(sockets)}, loop)


def run(proxy: ProxyProcess, recorder: Recorder, cases: list[Case]) -> dict[int, Outcome]:
    """Send every case in turn, one at a time, each source over its own kept connection."""
    answers: dict[int, Answer | None] = {}
    recorder.take()
    with ExitStack() as stack:
        clients: dict[str, Client] = {}
        for case in cases:
            client = clients.pop(case.source, None)
            if client is None:
                client = stack.enter_context(Client(proxy.port, case.source))
            client.send(case.request)
            answer = client.read_answer(case.method)
            answers[case.number] = answer
            if answer is None or answer.closes:
                client.close()
            else:
                clients[case.source] = client
    # A request whose body nobody read is logged once its client has closed. One loop serves both:
    # what it has read before this answer it has also finished.
    with Client(proxy.port, "127.0.0.1") as last:
        last.send(b"GET /_matrix/client/v3/sync HTTP/1.1\r\nHost: last\r\n\r\n")
        assert last.read_answer(b"GET") is not None
    attempts: dict[bytes, list[tuple[str, bytes, bytes]]] = {}
    for request in recorder.take():
        attempts.setdefault(request.case, []).append((request.server, request.head, request.body))
    proxy.stop()
    pools = read_log(proxy)
    return {
        case.number: _outcome(
            answers[case.number], pools.get(case.number, ""), tuple(attempts.get(case.id, ()))
        )
        for case in cases
    }


def _outcome(
    answer: Answer | None, pool: str, attempts: tuple[tuple[str, bytes, bytes], ...]
) -> Outcome:
    if answer is None:
        return Outcome(0, True, b"", pool, attempts)
    body = answer.body if attempts else b""
    return Outcome(answer.status, answer.closes, body, pool, attempts)


def read_log(proxy: ProxyProcess) -> dict[int, str]:
    """The pools by case number, from the access log; lines of requests without one are left out."""
    lines = (proxy.directory / "access.log").read_text(errors="replace").splitlines()
    read = _nginx_line if isinstance(proxy, Nginx) else _synproxy_line
    return {int(case): pool for case, pool in map(read, lines) if case.isdecimal()}


def _nginx_line(line: str) -> tuple[str, str]:
    case, _, pool = line.partition(" ")
    return case, pool.replace("-", "")


def _synproxy_line(line: str) -> tuple[str, str]:
    record = json.loads(line)
    return record["user_agent"].removeprefix("case/"), record["pool"]


@contextmanager
def stand_ins(directory: Path) -> Iterator[Recorder]:
    """All of the seed's Synapse processes."""
    with Recorder(directory) as recorder:
        recorder.listen(seed_sockets())
        yield recorder
