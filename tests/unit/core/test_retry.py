"""After a failed attempt: once more, or what to answer."""

from __future__ import annotations

import pytest

from synproxy.core.retry import may_retry, status_for
from synproxy.errors import Failure

DEFAULT = frozenset({"error", "timeout"})
NEVER: frozenset[str] = frozenset()
ALL = frozenset({"error", "timeout", "invalid_header", "non_idempotent"})

SENT, NOT_SENT = True, False
IDEMPOTENT = [b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"get", b"REPORT"]
OTHERS = [b"POST", b"PATCH", b"LOCK"]


@pytest.mark.parametrize("method", IDEMPOTENT)
@pytest.mark.parametrize(
    ("failure", "retried"),
    [
        (Failure.CONNECT, True),
        (Failure.STALE, True),
        (Failure.CLOSED, True),
        (Failure.TRUNCATED, True),
        (Failure.CONNECT_TIMEOUT, True),
        (Failure.SEND_TIMEOUT, True),
        (Failure.READ_TIMEOUT, True),
        (Failure.INVALID, False),  # nginx: only with "invalid_header"
    ],
)
def test_a_request_that_may_be_repeated_is(method: bytes, failure: Failure, retried: bool) -> None:
    for sent in (SENT, NOT_SENT):
        assert may_retry(failure, method, sent=sent, replayable=True, conditions=DEFAULT) is retried


@pytest.mark.parametrize("method", OTHERS)
@pytest.mark.parametrize("failure", Failure)
def test_a_post_is_never_sent_twice(method: bytes, failure: Failure) -> None:
    """Promise 2 of the design: "A POST is never sent twice."."""
    conditions = ALL - {"non_idempotent"}
    assert not may_retry(failure, method, sent=SENT, replayable=True, conditions=conditions)


@pytest.mark.parametrize("method", OTHERS)
def test_a_post_of_which_nothing_was_sent_goes_to_another_server(method: bytes) -> None:
    assert may_retry(Failure.CONNECT, method, sent=NOT_SENT, replayable=True, conditions=DEFAULT)


def test_who_asks_for_it_gets_a_post_repeated() -> None:
    for failure in set(Failure) - {Failure.EXHAUSTED}:
        assert may_retry(failure, b"POST", sent=SENT, replayable=True, conditions=ALL)


def test_what_cannot_be_sent_from_here_is_not_tried_elsewhere() -> None:
    assert not may_retry(Failure.EXHAUSTED, b"GET", sent=NOT_SENT, replayable=True, conditions=ALL)
    assert status_for(Failure.EXHAUSTED) == 503


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"POST"])
@pytest.mark.parametrize("failure", Failure)
def test_a_body_that_is_no_longer_at_hand_cannot_be_sent_again(
    method: bytes, failure: Failure
) -> None:
    assert not may_retry(failure, method, sent=SENT, replayable=False, conditions=ALL)


def test_a_body_of_which_nothing_was_sent_needs_no_repeating() -> None:
    assert may_retry(Failure.CONNECT, b"PUT", sent=NOT_SENT, replayable=False, conditions=ALL)


@pytest.mark.parametrize(
    ("condition", "failures"),
    [
        (
            "error",
            {
                Failure.CONNECT,
                Failure.REFUSED,
                Failure.STALE,
                Failure.CLOSED,
                Failure.TRUNCATED,
            },
        ),
        ("timeout", {Failure.CONNECT_TIMEOUT, Failure.SEND_TIMEOUT, Failure.READ_TIMEOUT}),
        ("invalid_header", {Failure.INVALID}),
        ("non_idempotent", set()),
    ],
)
def test_each_failure_has_its_condition(condition: str, failures: set[Failure]) -> None:
    for failure in Failure:
        retried = may_retry(
            failure, b"GET", sent=SENT, replayable=True, conditions=frozenset({condition})
        )
        assert retried is (failure in failures or failure is Failure.STALE)


def test_a_stale_connection_is_no_fault_of_the_server() -> None:
    for failure in Failure:
        retried = may_retry(failure, b"GET", sent=SENT, replayable=True, conditions=NEVER)
        assert retried is (failure is Failure.STALE)


@pytest.mark.parametrize("failure", sorted(set(Failure) - {Failure.EXHAUSTED}))
def test_a_timeout_is_504_and_all_else_502(failure: Failure) -> None:
    assert status_for(failure) == (504 if "timeout" in failure.value else 502)
