"""The balancer takes the real nginx's decisions: every attempt of every request is the same.

nginx has one worker process and says in a header which servers it tried. The balancer sees the
same requests in the same order, so its books must stay equal to nginx's too.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from zlib import crc32

import pytest

from synproxy.config.model import HashBalance, Pool, Server
from synproxy.core.balance import Balancer
from tests.support.nginx import Nginx
from tests.support.process import free_port

CONNECTIONS = 4
LONG = 3600.0  # seconds; a server that is out stays out
NOW = 1e6  # the balancer's clock stands still: the runs are short against LONG

MAIN = """
daemon off;
user root;  # the sockets lie below a directory that only this user may enter
worker_processes 1;
pid @RUN@/nginx.pid;
error_log @RUN@/error.log;
events { worker_connections 512; }
http {
    access_log off;
    keepalive_requests 100000;
    client_body_temp_path @RUN@/body; proxy_temp_path @RUN@/proxy; fastcgi_temp_path @RUN@/f;
    uwsgi_temp_path @RUN@/u; scgi_temp_path @RUN@/s;
    upstream pool {
        @BALANCE@
        @SERVERS@
    }
    @BACKENDS@
    server {
        listen 127.0.0.1:@PORT@;
        location / { proxy_pass http://pool; add_header X-Tried $upstream_addr always; }
    }
}
"""


@dataclass(frozen=True)
class Case:
    """A pool; of its addresses, ``{run}`` is a directory, ``{a}`` to ``{d}`` are TCP ports."""

    name: str
    servers: Sequence[Server]
    balance: str = "hash $arg_k consistent;"
    dead: frozenset[int] = frozenset()
    requests: int = 500


def unix(name: str, **settings: object) -> Server:
    return Server.model_validate({"address": f"unix:{{run}}/{name}.sock", **settings})


def tcp(letter: str, **settings: object) -> Server:
    return Server.model_validate({"address": f"127.0.0.1:{{{letter}}}", **settings})


def twins() -> tuple[str, str]:
    """Two socket names whose points are all equal, as the CRCs of what precedes them are."""
    rng = random.Random(5)
    seen: dict[int, str] = {}
    while True:
        name = "".join(rng.choices(string.ascii_lowercase, k=9))
        other = seen.setdefault(crc32(name.encode()), name)
        if other != name:
            return other, name


TWINS = twins()

MIXED = (unix("s1"), unix("s2", weight=3), unix("s3"), tcp("a", weight=2), tcp("b"))

CASES = [
    Case("five alive", MIXED, requests=2000),
    Case("three dead", MIXED, dead=frozenset({1, 2, 3}), requests=2000),
    Case("one alive, far away", (unix("s1", weight=50), unix("s2")), dead=frozenset({0})),
    Case("all dead", MIXED, dead=frozenset(range(5)), requests=100),
    Case(
        "out after failures",
        (
            unix("s1", max_fails=3, fail_timeout=LONG),
            unix("s2", max_fails=1, fail_timeout=LONG, weight=2),
            tcp("a", max_fails=2, fail_timeout=LONG),
            tcp("b", max_fails=2, fail_timeout=LONG),
        ),
        dead=frozenset({1, 2}),
    ),
    Case(
        "all out after failures",
        (unix("s1", max_fails=3, fail_timeout=LONG), tcp("a", max_fails=1, fail_timeout=LONG)),
        dead=frozenset({0, 1}),
        requests=50,
    ),
    Case("one down", (unix("s1"), unix("s2", down=True), unix("s3"), tcp("a"))),
    Case("an address twice", (unix("s1"), unix("s2"), unix("s1", weight=2), tcp("a"))),
    Case("equal points", (unix(TWINS[0]), unix("s2"), unix(TWINS[1], weight=2))),
    Case("single", (unix("s1", max_fails=1),), dead=frozenset({0}), requests=20),
    Case("weights", (unix("a", weight=5), unix("b"), unix("c")), "", requests=200),
    Case(
        "weights, one fails",
        (
            unix("a", weight=5, max_fails=2, fail_timeout=LONG),
            unix("b", weight=3, max_fails=2, fail_timeout=LONG),
            tcp("a", weight=2),
        ),
        "",
        dead=frozenset({0}),
        requests=200,
    ),
    Case(
        "backups",
        (
            unix("a", weight=2),
            unix("b", backup=True, weight=2),
            unix("c", backup=True),
            unix("d", down=True),
        ),
        "",
        dead=frozenset({0}),
        requests=100,
    ),
    Case(
        "a backup of one",
        (unix("a", max_fails=2, fail_timeout=LONG), unix("b", backup=True)),
        "",
        dead=frozenset({0}),
        requests=20,
    ),
    Case(
        "least connections, all idle",
        (unix("a", weight=4), unix("b", weight=2, max_fails=1, fail_timeout=LONG), tcp("a")),
        "least_conn;",
        dead=frozenset({1}),
        requests=200,
    ),
    Case(
        "least connections and backups",
        (unix("a"), unix("b", backup=True, weight=3), tcp("a", backup=True)),
        "least_conn;",
        dead=frozenset({0}),
        requests=100,
    ),
]


def directive(server: Server) -> str:
    words = [f"server {server.address} weight={server.weight} max_fails={server.max_fails}"]
    words.append(f"fail_timeout={server.fail_timeout:.0f}s")
    words += ["backup"] * server.backup + ["down"] * server.down
    return " ".join(words) + ";"


def keys(count: int) -> list[str]:
    """Random ones, some again and again, some empty."""
    rng = random.Random(20240917)
    letters = string.ascii_letters + string.digits + "._=-"
    made = ["".join(rng.choices(letters, k=rng.randint(1, 40))) for _ in range(count)]
    for position in range(0, count, 10):
        made[position] = rng.choice(made)
    for position in range(7, count, 50):
        made[position] = ""
    return made


def attempts_of_nginx(port: int, asked: Sequence[str]) -> Iterator[list[str]]:
    """For each key the addresses that nginx tried; ``pool`` if it found no live server."""
    connections = [HTTPConnection("127.0.0.1", port) for _ in range(CONNECTIONS)]
    try:
        for number, key in enumerate(asked):
            connection = connections[number % CONNECTIONS]
            connection.request("GET", f"/?k={key}")
            answer = connection.getresponse()
            answer.read()
            yield (answer.getheader("X-Tried") or "").split(", ")
    finally:
        for connection in connections:
            connection.close()


def attempts_of_ours(
    balancer: Balancer, key: str, dead: frozenset[str], hash_key: bool
) -> list[str]:
    """The same for the balancer: nginx stops after as many attempts as servers are not down."""
    tried: set[int] = set()
    addresses: list[str] = []
    single = len(balancer.servers) == 1
    for _ in range(sum(not server.down for server in balancer.servers)):
        index = balancer.pick(key.encode() if hash_key else b"", tried, NOW)
        if index is None:
            return [*addresses, "pool"]
        address = balancer.servers[index].address
        addresses.append(address)
        balancer.acquired(index)
        balancer.released(index, address in dead, NOW)
        if address not in dead or single:
            return addresses
        tried.add(index)
    return addresses


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_attempt_is_the_one_that_nginx_makes(
    case: Case, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run: Path = tmp_path_factory.mktemp("k")
    ports = {letter: str(free_port()) for letter in "abcd"}
    servers = tuple(
        server.model_copy(update={"address": server.address.format(run=run, **ports)})
        for server in case.servers
    )
    dead = frozenset(servers[index].address for index in case.dead)
    backends = {server.address for server in servers if not server.down} - dead
    values = {
        "BALANCE": case.balance,
        "SERVERS": "\n".join(directive(server) for server in servers),
        "BACKENDS": "\n".join(f"server {{ listen {a}; return 200 up; }}" for a in sorted(backends)),
    }
    by_hash = case.balance.startswith("hash")
    asked = keys(case.requests)
    with Nginx(run, {"nginx.conf": MAIN}, values) as nginx:
        expected = list(attempts_of_nginx(nginx.port, asked))
    balance: object = "round_robin"
    if case.balance:
        balance = HashBalance(hash="$arg_k") if by_hash else "least_conn"
    balancer = Balancer(Pool.model_validate({"servers": servers, "balance": balance}))
    ours = [attempts_of_ours(balancer, key, dead, by_hash) for key in asked]
    assert ours == expected
    assert len(ours) == case.requests


def test_the_cases_reach_what_they_are_named_for(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Guards the cases themselves: retries and repeated attempts do occur in them."""
    servers = tuple(
        server.model_copy(update={"address": server.address.format(run="/r", a=1, b=2)})
        for server in MIXED
    )
    dead = frozenset(servers[index].address for index in (1, 2, 3))
    balancer = Balancer(Pool(servers=servers, balance=HashBalance(hash="$arg_k")))
    lengths = {len(attempts_of_ours(balancer, key, dead, True)) for key in keys(2000)}
    assert lengths == {1, 2, 3, 4}
    first, second = TWINS
    assert first != second
    assert crc32(first.encode()) == crc32(second.encode())
