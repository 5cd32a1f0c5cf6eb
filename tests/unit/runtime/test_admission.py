"""Which connections a child takes, and what the log says of others."""

from __future__ import annotations

from typing import Any

import pytest

from synproxy.config.model import Config
from synproxy.downstream.connections import Connections, source
from synproxy.runtime.admission import Admission

V4 = ("192.0.2.1", 1000)


class FakeConnection:
    """Has a transport, which is itself."""

    def __init__(self, peer: object) -> None:
        self.peer = peer
        self.transport = self

    def get_extra_info(self, name: str) -> object:
        return {"peername": self.peer}[name]


class Door:
    """A child's admission with a clock that the test moves."""

    def __init__(self, config: dict[str, Any] | None = None, **limits: Any) -> None:
        self.now = 0.0
        self.connections = Connections()
        self.admission = Admission(self.connections, lambda: self.now)
        self.use(config, **limits)

    def use(self, config: dict[str, Any] | None = None, **limits: Any) -> None:
        tree = {"listeners": ["127.0.0.1:0"], "limits": limits, **(config or {})}
        self.admission.use(Config.model_validate(tree))

    def open(self, *peers: object) -> list[FakeConnection]:
        made = [FakeConnection(peer) for peer in peers]
        for one in made:
            self.connections.add(one)
        return made

    def takes(self, peer: object, *starting: object) -> bool:
        return not self.admission.farewell(peer, [source(one) for one in starting])


@pytest.mark.parametrize(
    ("peer", "same"),
    [
        (V4, ("192.0.2.1", 2000)),
        (V4, ("::ffff:192.0.2.1", 1, 0, 0)),
        (("2001:db8:0:1::1", 1, 0, 0), ("2001:db8:0:1:ffff::2", 1, 0, 0)),
        (("fe80::1%eth0", 1, 0, 2), ("fe80::1", 1, 0, 2)),
    ],
)
def test_these_are_the_same_client(peer: object, same: object) -> None:
    assert source(peer) == source(same) != b""


@pytest.mark.parametrize(
    "other", [("192.0.2.2", 1000), ("2001:db8:0:2::1", 1, 0, 0), "", b"", None]
)
def test_these_are_not(other: object) -> None:
    assert source(other) not in (source(V4), source(("2001:db8:0:1::1", 1, 0, 0)))


def test_an_address_has_as_many_as_the_limit_says() -> None:
    door = Door(connections_per_address=2)
    first, _ = door.open(V4, V4)
    assert not door.takes(V4)
    assert door.takes(("192.0.2.2", 1))
    door.connections.discard(first)
    door.connections.discard(first)  # twice changes nothing
    assert door.takes(V4)


def test_what_is_not_open_yet_counts() -> None:
    door = Door(connections_per_address=2)
    door.open(V4)
    assert door.takes(V4)
    assert not door.takes(V4, V4)


def test_unix_sockets_and_trusted_networks_are_not_bound() -> None:
    config = {
        "listeners": [{"listen": "127.0.0.1:0", "proxy_protocol": ["10.0.0.0/8"]}],
        "http": {"trusted_proxies": ["172.16.0.0/12"]},
    }
    door = Door(config, connections_per_address=1, exempt=["198.51.100.7"])
    for peer in (("10.1.1.1", 1), ("172.16.3.4", 1), ("198.51.100.7", 1), "", b""):
        door.open(peer, peer, peer)
        assert door.takes(peer)


def test_a_reload_counts_who_is_there_already() -> None:
    door = Door()
    door.open(V4, V4)
    assert door.takes(V4)
    door.use(connections_per_address=2)
    assert not door.takes(V4)
    door.use(connections_per_address=3)
    assert door.takes(V4)
    door.use()
    assert door.connections.of(source(V4)) == 0


def test_the_answer_is_a_matrix_error_that_says_when_to_come_again() -> None:
    door = Door(connections_per_address=1)
    door.open(V4)
    answer = door.admission.farewell(V4, ())
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 5\r\n" in answer
    assert b"\r\nAccess-Control-Allow-Origin: *\r\n" in answer
    assert b"\r\nConnection: close\r\n" in answer
    assert b'"retry_after_ms": 5000' in answer


def test_all_together_have_as_many_as_the_limit_says(caplog: pytest.LogCaptureFixture) -> None:
    door = Door(connections=3)
    first, _ = door.open(V4, "")
    assert not door.admission.full(0)
    assert door.admission.full(1)
    assert door.admission.full(1)
    door.connections.discard(first)
    assert not door.admission.full(1)
    assert door.admission.full(2)
    told = "3 connections, which is the limit: idle ones are closed, new ones wait"
    assert [one.message for one in caplog.records] == [told, told]


def test_the_log_says_it_once_in_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    door = Door(connections_per_address=1)
    door.open(V4)
    for now in (0, 3, 9.9, 10.1, 11):
        door.now = now
        assert not door.takes(V4)
    assert [one.message for one in caplog.records] == [
        "turned a connection from 192.0.2.1 away: more than 1 at a time",
        "turned a connection from 192.0.2.1 away: more than 1 at a time"
        " (2 more since the last time)",
    ]
    assert door.admission.turned_away == 5


class FakeClient(FakeConnection):
    """One that waits for its first or its next request until its deadline."""

    def __init__(self, deadline: float, requests: int = 1) -> None:
        super().__init__(V4)
        self.deadline, self.requests, self.idle = deadline, requests, True

    def shut_down_idle(self) -> None:
        self.idle = False


def test_the_longest_idle_give_their_places_up() -> None:
    """One has just connected, the others may wait for their next request for 75 s."""
    door = Door(connections=4)
    door.now = 6.0
    clients = [FakeClient(64.0, 0), FakeClient(76.0), FakeClient(77.0), FakeClient(80.0)]
    for one in clients:
        door.connections.add(one)
    for closed in (1, 2, 0, 3):
        assert door.admission.make_room()
        assert not clients[closed].idle
    assert door.admission.made_room == 4


@pytest.mark.parametrize(("count", "closed"), [(7, 1), (80, 10), (400, 32)])
def test_an_eighth_of_the_idle_is_closed_and_never_more_than_32(count: int, closed: int) -> None:
    door = Door(connections=count)
    door.now = 1000.0
    for number in range(count):
        door.connections.add(FakeClient(float(number)))
    assert door.admission.make_room()
    assert door.admission.made_room == closed


def test_who_is_not_idle_or_only_for_a_moment_keeps_its_place() -> None:
    door = Door(connections=3)
    door.now = 10.0
    busy, fresh = FakeClient(1.0), FakeClient(75.0 + 9.5)
    busy.idle = False
    for one in (busy, fresh, FakeConnection(V4)):
        door.connections.add(one)
    assert not door.admission.make_room()
    door.now = 10.2
    busy.idle = True
    assert not door.admission.make_room(), "it looked a moment ago"
    door.now = 10.25
    assert door.admission.make_room()
    assert not busy.idle
    assert fresh.idle
