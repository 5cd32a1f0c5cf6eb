"""Servers that are known to be away, restarting or full: who is asked instead, or waited for."""

from __future__ import annotations

import pytest

from synproxy.config.model import HashBalance, Pool
from synproxy.core.balance import ANY, Balancer
from synproxy.core.health import Status

KETAMA = HashBalance(hash="$mxid_localpart")
RENDEZVOUS = HashBalance(hash="$mxid_localpart", method="rendezvous")
METHODS: list[str | HashBalance] = ["round_robin", "least_conn", KETAMA, RENDEZVOUS]
HASHES = [KETAMA, RENDEZVOUS]
KEYS = [b"user%d" % number for number in range(60)]
UP, RESTARTING, DOWN = Status.UP, Status.RESTARTING, Status.DOWN


def make(balance: str | HashBalance, *servers: dict[str, object], **pool: object) -> Balancer:
    named = [{"address": f"unix:/run/{number}.sock", **each} for number, each in enumerate(servers)]
    return Balancer(Pool.model_validate({"servers": named, "balance": balance, **pool}))


def homes(balancer: Balancer) -> dict[bytes, int | None]:
    return {key: balancer.pick(key, (), 0.0) for key in KEYS}


def use(balancer: Balancer, index: int, count: int) -> None:
    for _ in range(count):
        balancer.acquired(index)


# --- down and restarting


@pytest.mark.parametrize("balance", METHODS)
def test_a_server_known_to_be_down_is_not_asked(balance: str | HashBalance) -> None:
    balancer = make(balance, {}, {}, {})
    balancer.mark(1, DOWN)
    assert set(homes(balancer).values()) == {0, 2}
    assert balancer.pick(KEYS[0], {0, 2}, 0.0) is None


@pytest.mark.parametrize("balance", HASHES)
def test_keys_leave_their_home_only_while_it_is_down(balance: HashBalance) -> None:
    balancer = make(balance, {}, {}, {})
    before = homes(balancer)
    second = {key: balancer.pick(key, {1}, 0.0) for key in KEYS}
    balancer.mark(1, DOWN)
    assert homes(balancer) == second
    balancer.mark(1, UP)
    assert homes(balancer) == before


@pytest.mark.parametrize("balance", HASHES)
def test_a_key_keeps_its_home_while_that_restarts(balance: HashBalance) -> None:
    balancer = make(balance, {}, {}, {})
    before = homes(balancer)
    balancer.mark(1, RESTARTING)
    assert homes(balancer) == before
    key = next(key for key in KEYS if before[key] == 1)
    assert balancer.pick(key, {1}, 0.0) in (0, 2)


@pytest.mark.parametrize("balance", HASHES)
def test_a_key_whose_home_is_down_keeps_its_second_choice_while_that_restarts(
    balance: HashBalance,
) -> None:
    balancer = make(balance, {}, {}, {})
    balancer.mark(0, DOWN)
    before = homes(balancer)
    balancer.mark(2, RESTARTING)
    assert homes(balancer) == before
    assert set(before.values()) == {1, 2}


@pytest.mark.parametrize("balance", METHODS)
def test_without_a_key_a_restarting_server_is_passed_over(balance: str | HashBalance) -> None:
    balancer = make(balance, {}, {}, {})
    balancer.mark(1, RESTARTING)
    assert {balancer.pick(b"", (), 0.0) for _ in range(20)} <= {0, 2}
    balancer.mark(0, RESTARTING)
    balancer.mark(2, DOWN)
    assert balancer.pick(b"", (), 0.0) is None


def test_whether_a_server_may_be_back_soon() -> None:
    balancer = make("round_robin", {}, {}, {"down": True})
    assert not balancer.restarting()
    balancer.mark(1, RESTARTING)
    assert balancer.restarting()
    assert not balancer.restarting({1})
    balancer.mark(1, DOWN)
    assert not balancer.restarting()
    balancer.mark(2, RESTARTING)
    assert not balancer.restarting()


@pytest.mark.parametrize("health", [RESTARTING, DOWN])
def test_the_only_server_may_be_away_too(health: int) -> None:
    balancer = make("round_robin", {"max_fails": 1})
    balancer.mark(0, health)
    assert balancer.pick(b"", (), 0.0) is None
    balancer.mark(0, UP)
    assert balancer.pick(b"", (), 0.0) == 0


def test_backups_take_over_from_servers_that_are_down() -> None:
    balancer = make("round_robin", {}, {}, {"backup": True})
    balancer.mark(0, DOWN)
    assert balancer.pick(b"", (), 0.0) == 1
    balancer.mark(1, RESTARTING)
    assert balancer.pick(b"", (), 0.0) == 2


def test_a_server_that_has_come_back_has_no_failures() -> None:
    balancer = make("round_robin", {"max_fails": 1}, {"max_fails": 1})
    balancer.acquired(0)
    balancer.released(0, True, 1.0)
    assert balancer.pick(b"", {1}, 1.0) is None
    balancer.mark(0, RESTARTING)
    balancer.mark(0, UP)
    assert balancer.pick(b"", {1}, 1.0) == 0


@pytest.mark.parametrize("balance", METHODS)
def test_the_last_resort_asks_servers_that_are_known_to_be_down(
    balance: str | HashBalance,
) -> None:
    balancer = make(balance, {}, {}, {"down": True})
    first = balancer.pick(KEYS[0], (), 0.0)
    for index in (0, 1):
        balancer.mark(index, DOWN)
    assert balancer.pick(KEYS[0], (), 0.0) is None
    found = balancer.last_resort(KEYS[0], (), 0.0)
    assert found in (0, 1)
    if isinstance(balance, HashBalance):
        assert found == first
    assert balancer.last_resort(KEYS[0], {0, 1}, 0.0) is None
    assert balancer.pick(KEYS[0], (), 0.0) is None


def test_a_preference_is_shown_as_if_all_were_up() -> None:
    balancer = make(KETAMA, {}, {}, {})
    before = [balancer.preference(key) for key in KEYS]
    balancer.mark(0, DOWN)
    balancer.mark(1, RESTARTING)
    assert [balancer.preference(key) for key in KEYS] == before
    assert [balancer.health(index) for index in range(3)] == [DOWN, RESTARTING, UP]


# --- full

ONE: dict[str, object] = {"max_conns": 1}


@pytest.mark.parametrize("balance", HASHES)
def test_without_a_queue_a_key_goes_on_when_its_home_is_full(balance: HashBalance) -> None:
    balancer = make(balance, ONE, ONE, ONE)
    second = {key: balancer.pick(key, {1}, 0.0) for key in KEYS}
    use(balancer, 1, 1)
    assert homes(balancer) == second


@pytest.mark.parametrize("balance", HASHES)
def test_with_a_queue_a_key_waits_for_its_full_home(balance: HashBalance) -> None:
    balancer = make(balance, ONE, ONE, ONE, queue=10)
    before = homes(balancer)
    use(balancer, 1, 1)
    for key, home in before.items():
        if home == 1:
            assert balancer.pick(key, (), 0.0) is None
            assert balancer.awaited(key, (), 0.0) == 1
            assert balancer.spill(key, (), 0.0) in (0, 2)
        else:
            assert balancer.pick(key, (), 0.0) == home
    assert balancer.pick(b"", (), 0.0) in (0, 2)


@pytest.mark.parametrize("balance", HASHES)
def test_a_key_does_not_wait_for_a_full_home_that_is_down(balance: HashBalance) -> None:
    balancer = make(balance, ONE, ONE, ONE, queue=10)
    second = {key: balancer.pick(key, {1}, 0.0) for key in KEYS}
    use(balancer, 1, 1)
    balancer.mark(1, DOWN)
    assert homes(balancer) == second


@pytest.mark.parametrize("balance", METHODS)
def test_when_all_are_full_a_request_without_a_key_waits_for_any(
    balance: str | HashBalance,
) -> None:
    balancer = make(balance, ONE, ONE, queue=10)
    for index in (0, 1):
        use(balancer, index, 1)
    assert balancer.pick(b"", (), 0.0) is None
    assert balancer.awaited(b"", (), 0.0) == ANY
    assert balancer.spill(b"", (), 0.0) is None


@pytest.mark.parametrize(
    ("servers", "tried", "health", "expected"),
    [
        ([ONE], (), UP, ANY),
        ([ONE], {0}, UP, None),
        ([ONE], (), DOWN, None),
        ([ONE], (), RESTARTING, None),
        ([{"max_conns": 1, "down": True}], (), UP, None),
        ([{"max_conns": 2}], (), UP, None),
        ([{}], (), UP, None),
        ([ONE, {"down": True}], (), UP, ANY),
    ],
)
def test_whether_there_is_a_place_to_wait_for(
    servers: list[dict[str, object]], tried: set[int], health: int, expected: int | None
) -> None:
    balancer = make("round_robin", *servers, queue=10)
    use(balancer, 0, 1)
    balancer.mark(0, health)
    assert balancer.awaited(b"", tried, 0.0) == expected


def test_the_places_of_a_server() -> None:
    balancer = make("round_robin", {"max_conns": 3}, {})
    use(balancer, 0, 1)
    assert [balancer.places(index) for index in (0, 1)] == [2, float("inf")]
    assert balancer.in_use
    balancer.released(0, False, 0.0)
    assert not balancer.in_use
    balancer.mark(0, RESTARTING)
    assert balancer.places(0) == 0
