"""Drained servers and maintenance, as a generation decides about them."""

from __future__ import annotations

import json

import pytest

from synproxy.config.loader import loads
from synproxy.config.model import Maintenance
from synproxy.core.wheel import TimerWheel
from synproxy.proxy.answers import LocalAnswer
from synproxy.proxy.generation import Generation

CONFIG = """\
listeners: ["127.0.0.1:8008"]
well_known: {server: {m.server: "example.org:443"}}
allowlists: {private: [{allow: 127.0.0.1}, {deny: all}]}
pools:
  sync: {servers: ["unix:/a", "unix:/b", "unix:/c"], balance: {hash: $remote_addr}}
  main: {servers: ["unix:/b"]}
routes:
  - {name: admin, location: ^~ /_synapse/admin/, pool: main, allowlists: [private]}
  - {name: teapot, location: = /teapot, respond: {status: 418}}
  - {name: sync, location: = /sync, pool: sync}
  - {name: rest, location: /, pool: main}
"""
DOWN = Maintenance(retry_after=90.0, error="Back at ten")


def generation() -> Generation:
    return Generation(loads(CONFIG, "test"), TimerWheel(0.0))


def answer(made: Generation, path: bytes, method: bytes = b"GET") -> LocalAnswer | None:
    route = made.decide(path, method).route
    assert route is not None
    return route.respond


@pytest.mark.parametrize("path", [b"/sync", b"/", b"/_matrix/client/versions", b"/healthy"])
def test_during_maintenance_what_would_be_forwarded_is_told_to_come_again(path: bytes) -> None:
    made = generation()
    assert answer(made, path) is None
    made.intervene((), DOWN)
    told = answer(made, path)
    assert told is not None
    assert told.status == 503
    assert b"Retry-After: 90\r\n" in told.fields
    assert b"Access-Control-Allow-Origin: *\r\n" in told.fields
    assert json.loads(told.body) == {
        "errcode": "M_UNKNOWN",
        "error": "Back at ten",
        "retry_after_ms": 90_000,
    }
    made.intervene((), None)
    assert answer(made, path) is None


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (b"/health", None),
        (b"/_synapse/admin/v1/rooms", None),
        (b"/teapot", 418),
        (b"/.well-known/matrix/server", 200),
    ],
)
def test_maintenance_leaves_health_admins_and_own_answers_alone(
    path: bytes, status: int | None
) -> None:
    made = generation()
    made.intervene((), DOWN)
    told = answer(made, path)
    assert (told.status if told is not None else None) == status


def test_browsers_may_read_why() -> None:
    made = generation()
    made.intervene((), DOWN)
    told = answer(made, b"/sync", b"OPTIONS")
    assert told is not None
    assert told.status == 204
    assert b"Access-Control-Allow-Methods" in told.fields


def test_the_allowlists_still_hold() -> None:
    made = generation()
    made.intervene((), DOWN)
    access = made.decide(b"/_synapse/admin/v1/rooms", b"GET").accesses
    assert [one.permits(b"192.0.2.1") for one in access] == [False]


def test_only_keys_at_home_at_a_drained_server_move_and_they_come_back() -> None:
    made = generation()
    balancer = made.pools["sync"].balancer
    keys = [b"192.0.2.%d" % number for number in range(250)]
    before = [balancer.pick(key, (), 0.0) for key in keys]
    made.intervene(["unix:/b"], None)
    during = [balancer.pick(key, (), 0.0) for key in keys]
    assert {old for old, new in zip(before, during, strict=True) if old != new} == {1}
    assert 1 not in during
    assert made.pools["main"].balancer.pick(b"", (), 0.0) is None
    made.intervene([], None)
    assert [balancer.pick(key, (), 0.0) for key in keys] == before
    assert made.pools["main"].balancer.pick(b"", (), 0.0) == 0


def test_a_drained_server_is_not_even_the_last_resort() -> None:
    made = generation()
    made.intervene(["unix:/a", "unix:/b", "unix:/c"], None)
    balancer = made.pools["sync"].balancer
    assert balancer.last_resort(b"x", (), 0.0) is None
    assert not balancer.any_up


def test_health_that_changes_meanwhile_undrains_nobody() -> None:
    made = generation()
    made.intervene(["unix:/a"], None)
    pool = made.pools["sync"]
    pool.server_changed(0, 2)
    pool.server_changed(0, 0)
    assert pool.balancer.drained(0)
    assert all(pool.balancer.pick(b"%d" % n, (), 0.0) != 0 for n in range(100))
