"""A step of the tour knows where it belongs and how to type it."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from synproxy.demo.tour import TOUR, Answer, Step

TARGET = "/_matrix/client/v3/login"
LOGIN = Step("Why.", TARGET, pool="login")
REFUSED = Step("Why.", "/_synapse/admin", status=403)


def answer(worker: str, target: str = TARGET, status: int = 200) -> Answer:
    return Answer(status, {"worker": worker, "target": target})


@pytest.mark.parametrize(
    ("step", "came", "mistake"),
    [
        (LOGIN, answer("login1"), ""),
        (LOGIN, answer("media"), "answered by media, which is not in pool login"),
        (LOGIN, answer("login1", target="/other"), "arrived as /other"),
        (LOGIN, answer("login1", status=502), "status 502 instead of 200"),
        (LOGIN, Answer(200, None), "answered by synproxy, which is not in pool login"),
        (REFUSED, Answer(403, {"errcode": "M_FORBIDDEN"}), ""),
        (REFUSED, Answer(403, None), "not the Matrix error M_FORBIDDEN"),
        (REFUSED, answer("main"), "status 200 instead of 403"),
    ],
)
def test_a_step_sees_where_its_request_landed(step: Step, came: Answer, mistake: str) -> None:
    assert step.mistake(came, ["login1", "login2"], before="") == mistake


def test_the_second_request_of_a_user_must_come_to_the_same_worker() -> None:
    step = Step("Why.", TARGET, pool="login", as_before=True)
    assert step.mistake(answer("login1"), ["login1", "login2"], before="login1") == ""
    assert step.mistake(answer("login1"), ["login1", "login2"], before="login2") == (
        "answered by login1, the request before by login2"
    )


@pytest.mark.parametrize("step", TOUR)
def test_the_line_to_type_holds_the_whole_request(step: Step) -> None:
    words: list[Any] = shlex.split(step.curl("http://127.0.0.1:1"))
    assert words[:2] == ["curl", "-s"]
    assert words[-1] == f"http://127.0.0.1:1{step.path}"
    assert words.count("-H") == len(step.headers)
    assert ("-X" in words) == (step.method != "GET")


def test_the_tour_shows_what_it_is_for() -> None:
    assert {step.pool for step in TOUR} >= {"login", "initial_sync", "normal_sync", "media"}
    assert any(step.status == 403 for step in TOUR)
