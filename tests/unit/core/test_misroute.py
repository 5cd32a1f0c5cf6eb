"""Answers that tell of a wrong route, and how they are counted."""

from __future__ import annotations

import pytest

from synproxy.core.misroute import (
    MAX_ANSWER,
    WARN_AGAIN,
    Misroutes,
    is_unrecognized,
    may_be_unrecognized,
)
from synproxy.core.response import ResponseHead, judge_response

JSON = (b"Content-Type", b"application/json")
CHUNKED = (b"Transfer-Encoding", b"chunked")


def head(status: int, *fields: tuple[bytes, bytes], head_request: bool = False) -> ResponseHead:
    return judge_response(status, b"", 1, fields, head_request=head_request)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (head(404, JSON, CHUNKED), True),
        (head(405, JSON, CHUNKED), True),
        (head(404, JSON, (b"Content-Length", b"60")), True),
        (head(404, JSON, (b"Content-Length", b"%d" % MAX_ANSWER)), True),
        (head(404, (b"Content-Type", b"Application/JSON; charset=utf-8"), CHUNKED), True),
        (head(400, JSON, CHUNKED), False),
        (head(403, JSON, CHUNKED), False),
        (head(200, JSON, CHUNKED), False),
        (head(404, JSON, (b"Content-Length", b"%d" % (MAX_ANSWER + 1))), False),
        (head(404, JSON, (b"Content-Length", b"0")), False),
        (head(404, JSON), False),
        (head(404, (b"Content-Type", b"text/html"), CHUNKED), False),
        (head(404, CHUNKED), False),
        (head(404, JSON, CHUNKED, (b"Content-Encoding", b"gzip")), False),
        (head(404, JSON, CHUNKED, head_request=True), False),
    ],
)
def test_which_answers_are_worth_a_look(answer: ResponseHead, expected: bool) -> None:
    assert may_be_unrecognized(answer) is expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"errcode":"M_UNRECOGNIZED","error":"Unrecognized request"}', True),
        (b'{"errcode":"M_NOT_FOUND","error":"M_UNRECOGNIZED"}', False),
        (b'{"error":"M_UNRECOGNIZED"}', False),
        (b'["M_UNRECOGNIZED"]', False),
        (b'"M_UNRECOGNIZED"', False),
        (b'{"errcode":"M_UNRECOGNIZED"', False),
        (b"", False),
        (b"\xff", False),
        (b"[" * 1000, False),
    ],
)
def test_which_bodies_say_so(body: bytes, expected: bool) -> None:
    assert is_unrecognized(body) is expected


def test_each_route_and_method_warns_once_in_a_while() -> None:
    misroutes = Misroutes()
    assert misroutes.note("room", b"GET", 0.0) == 1
    assert misroutes.note("room", b"GET", 1.0) == 0
    assert misroutes.note("room", b"POST", 1.0) == 1
    assert misroutes.note("other", b"GET", 1.0) == 1
    assert misroutes.note("room", b"GET", WARN_AGAIN - 1) == 0
    assert misroutes.note("room", b"GET", WARN_AGAIN) == 3
    assert misroutes.note("room", b"GET", WARN_AGAIN + 1) == 0
    assert misroutes.counts == {("room", "GET"): 5, ("room", "POST"): 1, ("other", "GET"): 1}


def test_methods_that_clients_make_up_take_no_memory() -> None:
    misroutes = Misroutes()
    for number in range(100):
        misroutes.note("room", b"X%d" % number, 0.0)
    assert misroutes.counts == {("room", "other"): 100}
