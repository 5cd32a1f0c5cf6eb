"""Balancing is nginx's, step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.config.model import HashBalance, Pool, Server
from synproxy.core import balance as balance_module
from synproxy.core.balance import MEMO_KEY_LIMIT, Balancer
from synproxy.core.ketama import Ring

KETAMA = HashBalance(hash="$mxid_localpart")
RENDEZVOUS = HashBalance(hash="$mxid_localpart", method="rendezvous")
METHODS: list[str | HashBalance] = ["round_robin", "least_conn", KETAMA, RENDEZVOUS]
HASHES = [KETAMA, RENDEZVOUS]


def make(balance: str | HashBalance, *settings: dict[str, object]) -> Balancer:
    servers = [
        {"address": f"unix:/run/{number}.sock", **each} for number, each in enumerate(settings)
    ]
    return Balancer(Pool.model_validate({"servers": servers, "balance": balance}))


def weights(*values: int) -> list[dict[str, object]]:
    return [{"weight": value} for value in values]


def picks(balancer: Balancer, count: int, key: bytes = b"", now: float = 0.0) -> str:
    """The servers of ``count`` short requests one after another, as letters."""
    found = []
    for _ in range(count):
        index = balancer.pick(key, (), now)
        if index is None:
            found.append("-")
            continue
        balancer.acquired(index)
        balancer.released(index, False, now)
        found.append("abcdefgh"[index])
    return "".join(found)


def fail(balancer: Balancer, index: int, now: float) -> None:
    balancer.acquired(index)
    balancer.released(index, True, now)


# --- round robin


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((5, 1, 1), "aabacaa" * 2),
        ((1, 1, 1), "abc" * 3),
        ((3, 2), "ababa" * 2),
        ((4, 3, 2, 1), "abcabdacba"),
        ((1,), "aaa"),
    ],
)
def test_round_robin_is_smooth(values: tuple[int, ...], expected: str) -> None:
    assert picks(make("round_robin", *weights(*values)), len(expected)) == expected


@given(st.lists(st.integers(1, 9), min_size=2, max_size=6))
def test_round_robin_gives_each_server_its_weight_in_every_cycle(values: list[int]) -> None:
    balancer = make("round_robin", *weights(*values))
    total = sum(values)
    for _ in range(2):
        cycle = [balancer.pick(b"", (), 0.0) for _ in range(total)]
        assert Counter(cycle) == Counter(dict(enumerate(values)))


def test_servers_that_were_tried_are_passed_over() -> None:
    balancer = make("round_robin", {}, {}, {})
    assert [balancer.pick(b"", tried, 0.0) for tried in ({0}, {0, 1}, {0, 1, 2})] == [1, 2, None]


# --- taking servers out


@pytest.mark.parametrize("balance", METHODS)
def test_a_server_that_is_down_is_never_chosen(balance: str | HashBalance) -> None:
    balancer = make(balance, {}, {"down": True}, {})
    for number in range(50):
        assert balancer.pick(b"%d" % number, (), 0.0) in (0, 2)
        assert balancer.pick(b"%d" % number, {0, 2}, 0.0) is None


@pytest.mark.parametrize("balance", METHODS)
def test_without_max_fails_a_server_stays_in(balance: str | HashBalance) -> None:
    balancer = make(balance, {}, {})
    for _ in range(100):
        fail(balancer, 0, 1.0)
    assert {balancer.pick(b"%d" % number, (), 1.0) for number in range(50)} == {0, 1}


@pytest.mark.parametrize("balance", METHODS)
def test_max_fails_takes_a_server_out_for_fail_timeout(balance: str | HashBalance) -> None:
    one: dict[str, object] = {"max_fails": 2, "fail_timeout": 10}
    balancer = make(balance, one, one)
    fail(balancer, 0, 100.0)
    assert {balancer.pick(b"%d" % number, (), 101.0) for number in range(50)} == {0, 1}
    fail(balancer, 0, 105.0)
    for now in (105.0, 110.0, 115.0):
        assert {balancer.pick(b"%d" % number, (), now) for number in range(50)} == {1}
    assert {balancer.pick(b"%d" % number, {1}, 115.1) for number in range(50)} == {0, None}


def test_after_fail_timeout_one_request_checks_the_server() -> None:
    one: dict[str, object] = {"max_fails": 1, "fail_timeout": 10}
    balancer = make("round_robin", one, one)
    fail(balancer, 0, 100.0)
    assert balancer.pick(b"", {1}, 110.5) == 0
    assert balancer.pick(b"", {1}, 110.5) is None  # until the check has ended
    balancer.acquired(0)
    balancer.released(0, False, 111.0)
    assert balancer.pick(b"", {1}, 111.0) == 0
    fail(balancer, 0, 112.0)
    assert balancer.pick(b"", {1}, 112.0) is None


def test_a_success_during_the_span_of_failures_forgives_nothing() -> None:
    balancer = make("round_robin", {"max_fails": 2, "fail_timeout": 10}, {})
    fail(balancer, 0, 100.0)
    balancer.acquired(0)
    balancer.released(0, False, 101.0)
    fail(balancer, 0, 102.0)
    assert balancer.pick(b"", {1}, 102.0) is None


def test_a_server_that_failed_recovers_its_weight_step_by_step() -> None:
    balancer = make("round_robin", {"max_fails": 5, "weight": 5}, {"weight": 1})
    for _ in range(3):
        fail(balancer, 0, 0.0)
    assert picks(balancer, 12) == "aabaaaaabaaa"


def test_a_server_that_keeps_failing_starts_again_from_nothing() -> None:
    balancer = make("round_robin", {"max_fails": 1, "weight": 3}, {"weight": 1})
    for now in (0.0, 20.0, 40.0):
        fail(balancer, 0, now)
    assert picks(balancer, 8, now=60.0) == "babaaaba"


def test_a_check_needs_more_than_fail_timeout() -> None:
    balancer = make("round_robin", {"max_fails": 2, "fail_timeout": 10}, {})
    fail(balancer, 0, 100.0)
    assert balancer.pick(b"", {1}, 110.0) == 0
    balancer.acquired(0)
    balancer.released(0, False, 110.0)
    fail(balancer, 0, 110.0)
    assert balancer.pick(b"", {1}, 110.0) is None


@pytest.mark.parametrize("balance", METHODS)
def test_a_single_server_ignores_max_fails(balance: str | HashBalance) -> None:
    balancer = make(balance, {"max_fails": 1})
    fail(balancer, 0, 1.0)
    assert balancer.pick(b"key", (), 1.0) == 0
    assert balancer.pick(b"key", {0}, 1.0) is None


def test_a_single_server_may_be_down_or_full() -> None:
    assert make("round_robin", {"down": True}).pick(b"", (), 0.0) is None
    full = make("round_robin", {"max_conns": 1})
    full.acquired(0)
    assert full.pick(b"", (), 0.0) is None
    full.released(0, True, 0.0)
    assert full.pick(b"", (), 0.0) == 0


@pytest.mark.parametrize("balance", METHODS)
def test_a_full_server_is_passed_over_until_a_request_ends(balance: str | HashBalance) -> None:
    balancer = make(balance, {"max_conns": 2}, {"max_conns": 1})
    for index in (0, 0, 1):
        balancer.acquired(index)
    assert balancer.pick(b"key", (), 0.0) is None
    balancer.released(0, False, 0.0)
    assert balancer.pick(b"key", (), 0.0) == 0


@pytest.mark.parametrize("balance", METHODS)
def test_backups_are_used_when_no_other_is_left(balance: str | HashBalance) -> None:
    balancer = make(balance, {"backup": True}, {}, {"backup": True}, {})
    for number in range(20):
        key = b"%d" % number
        assert balancer.pick(key, (), 0.0) in (1, 3)
        assert balancer.pick(key, {1, 3}, 0.0) in (0, 2)
        assert balancer.pick(key, {0, 1, 3}, 0.0) == 2
        assert balancer.pick(key, {0, 1, 2, 3}, 0.0) is None


# --- least connections


def test_least_conn_goes_by_attempts_for_the_weight() -> None:
    balancer = make("least_conn", *weights(1, 3))
    found = []
    for _ in range(8):
        index = balancer.pick(b"", (), 0.0)
        assert index is not None
        balancer.acquired(index)
        found.append("ab"[index])
    assert "".join(found) == "babbabbb"


def test_equally_busy_servers_take_turns() -> None:
    assert picks(make("least_conn", *weights(1, 1, 1)), 6) == "abcabc"
    assert picks(make("least_conn", *weights(5, 1, 1)), 7) == "aabacaa"


@given(
    st.lists(st.integers(1, 5), min_size=2, max_size=5),
    st.lists(st.tuples(st.booleans(), st.integers(0, 99)), max_size=60),
)
def test_least_conn_never_chooses_a_busier_server(
    values: list[int], steps: list[tuple[bool, int]]
) -> None:
    balancer = make("least_conn", *weights(*values))
    busy = [0] * len(values)
    under_way: list[int] = []
    for start, which in steps:
        if start or not under_way:
            index = balancer.pick(b"", (), 0.0)
            assert index is not None
            load = [count / weight for count, weight in zip(busy, values, strict=True)]
            assert load[index] == min(load)
            balancer.acquired(index)
            busy[index] += 1
            under_way.append(index)
        else:
            index = under_way.pop(which % len(under_way))
            balancer.released(index, False, 0.0)
            busy[index] -= 1


# --- hashes

_POOLS = st.lists(st.integers(1, 3), min_size=2, max_size=5)
_KEYS = st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=40)


@given(_POOLS, _KEYS, st.sampled_from(HASHES))
def test_a_remembered_key_goes_where_a_new_one_goes(
    values: list[int], keys: list[bytes], balance: HashBalance
) -> None:
    old = make(balance, *weights(*values))
    for key in (*keys, *keys):
        new = make(balance, *weights(*values))
        assert old.pick(key, (), 0.0) == new.pick(key, (), 0.0)
        assert old.pick(key, {0}, 0.0) == new.pick(key, {0}, 0.0)


@pytest.mark.parametrize("balance", HASHES)
def test_the_memory_for_keys_is_bounded(
    balance: HashBalance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balance_module, "MEMO_ENTRIES", 8)
    small = make(balance, {}, {}, {})
    monkeypatch.undo()
    large = make(balance, {}, {}, {})
    keys = [b"%d" % (number % 37) for number in range(200)]
    assert [small.pick(key, (), 0.0) for key in keys] == [large.pick(key, (), 0.0) for key in keys]
    assert len(small._memo) <= 8
    long = b"k" * (MEMO_KEY_LIMIT + 1)
    assert large.pick(long, (), 0.0) == large.pick(long, (), 0.0)
    assert len(large._memo) == 37


@pytest.mark.parametrize("balance", HASHES)
def test_a_key_keeps_its_server_whatever_others_do(balance: HashBalance) -> None:
    balancer = make(balance, {"max_fails": 1, "fail_timeout": 10}, {}, {})
    keys = [b"%d" % number for number in range(100)]
    homes = {key: balancer.pick(key, (), 0.0) for key in keys}
    assert set(homes.values()) == {0, 1, 2}
    fail(balancer, 0, 100.0)
    moved = {key: balancer.pick(key, (), 101.0) for key in keys}
    for key in keys:
        if homes[key] == 0:
            assert moved[key] in (1, 2)
        else:
            assert moved[key] == homes[key]
    balancer.pick(b"", {1, 2}, 111.0)
    balancer.acquired(0)
    balancer.released(0, False, 111.0)
    assert {key: balancer.pick(key, (), 111.0) for key in keys} == homes


@pytest.mark.parametrize("balance", HASHES)
def test_requests_without_a_key_take_turns(balance: HashBalance) -> None:
    assert picks(make(balance, *weights(5, 1, 1)), 7) == "aabacaa"


def test_servers_that_share_an_address_take_turns_at_its_keys() -> None:
    servers = [
        Server(address="unix:/run/a.sock"),
        Server(address="unix:/run/b.sock"),
        Server(address="unix:/run/a.sock", weight=2),
    ]
    balancer = Balancer(Pool(servers=tuple(servers), balance=KETAMA))
    key = next(b"%d" % number for number in range(99) if balancer.pick(b"%d" % number, (), 0) != 1)
    chosen = Counter(balancer.pick(key, (), 0.0) for _ in range(30))
    assert chosen == {0: 10, 2: 20}


def test_far_from_home_ketama_falls_back_to_round_robin() -> None:
    balancer = make(KETAMA, *weights(100, 1, 1))
    ring = Ring([(server.address, server.weight) for server in balancer.servers])
    key = next(b"%d" % n for n in range(99) if set(ring.offers(b"%d" % n)) == {0})
    assert balancer.pick(key, (), 0.0) == 0
    assert [balancer.pick(key, {0}, 0.0) for _ in range(4)] == [1, 2, 1, 2]


# --- preference


def order_by_trying(balancer: Balancer, key: bytes) -> list[int]:
    tried: list[int] = []
    while (index := balancer.pick(key, tried, 0.0)) is not None:
        tried.append(index)
    return tried


_SETTINGS: Sequence[dict[str, object]] = (
    {"weight": 3},
    {"max_fails": 1},
    {"down": True},
    {"backup": True},
    {"weight": 2},
)


@pytest.mark.parametrize("balance", METHODS)
def test_the_preference_is_the_order_in_which_a_request_tries(balance: str | HashBalance) -> None:
    balancer = make(balance, *_SETTINGS)
    for number in range(20):
        key = b"%d" % number
        preferred = balancer.preference(key)
        assert preferred == balancer.preference(key)
        assert sorted(preferred) == [0, 1, 3, 4]
        assert preferred[-1] == 3
        assert preferred == order_by_trying(balancer, key)


@pytest.mark.parametrize("balance", METHODS)
def test_asking_for_the_preference_changes_nothing(balance: str | HashBalance) -> None:
    asked, left = make(balance, *_SETTINGS), make(balance, *_SETTINGS)
    for number in range(40):
        key = b"%d" % (number % 7)
        asked.preference(key)
        now = float(number)
        index = left.pick(key, (), now)
        assert asked.pick(key, (), now) == index
        assert index is not None
        for balancer in (asked, left):
            balancer.acquired(index)
            balancer.released(index, number % 3 == 0, now)


def test_past_failures_do_not_change_the_preference() -> None:
    balancer = make(KETAMA, {"max_fails": 1}, {"max_fails": 1})
    before = balancer.preference(b"key")
    fail(balancer, before[0], 0.0)
    assert balancer.preference(b"key") == before
    assert balancer.pick(b"key", (), 0.0) == before[1]
