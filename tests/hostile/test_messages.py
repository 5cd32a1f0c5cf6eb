"""Every collected hostile message, in memory: whole, byte by byte, line by line."""

from __future__ import annotations

import pytest

from tests.differential.differences import listed
from tests.hostile.answers import strict_reading
from tests.hostile.conversation import CUTS, whole
from tests.hostile.corpus import hostile_answers, hostile_requests
from tests.hostile.report import DOCUMENT, LISTED, answer_fates, render, request_outcomes

CUT_NAMES = [cut.__name__ for cut in CUTS]


@pytest.mark.parametrize("cut", CUT_NAMES)
def test_a_request_means_the_same_however_it_is_cut(cut: str) -> None:
    expected = request_outcomes()[whole.__name__]
    for case, result in request_outcomes()[cut].items():
        assert result.statuses == expected[case].statuses, case
        assert result.served == expected[case].served, case


def test_what_all_peers_refuse_is_refused() -> None:
    results = request_outcomes()[whole.__name__]
    wrong = [
        case.id
        for case, result in results.items()
        if case.consensus in ("all-reject", "late-reject") and result.verdict != "R"
    ]
    assert wrong == []


def test_what_all_peers_forward_is_forwarded_or_listed() -> None:
    results = request_outcomes()[whole.__name__]
    refused = [
        case.id
        for case, result in results.items()
        if case.consensus == "all-forward" and result.verdict != "F"
    ]
    assert refused == list(LISTED)
    assert set(LISTED.values()) <= set(listed())


def test_what_is_served_is_what_was_asked_for() -> None:
    """Each request that a server gets stands in the message, at its place, and no more."""
    for case, result in request_outcomes()[whole.__name__].items():
        at = 0
        for message in result.served:
            line = message.method + b" "
            at = case.raw.find(line, at)
            assert at >= 0, (case, message)
            at += len(line)


@pytest.mark.parametrize("closes", [True, False], ids=["closes", "silent"])
@pytest.mark.parametrize("cut", CUT_NAMES)
def test_an_answer_is_passed_on_only_if_there_is_one_reading(cut: str, closes: bool) -> None:
    for case, one in answer_fates()[cut, closes].items():
        assert one == answer_fates()[whole.__name__, closes][case], case
        reading = strict_reading(case.raw)
        if one.verdict == "passed on":
            assert reading == (one.status, one.body), case
        elif one.verdict == "cut" and reading is not None:
            # h11 takes white space around a chunk size, and the end of the connection for the end.
            assert reading[1].startswith(one.body), case


def test_a_server_connection_is_kept_only_behind_a_plain_answer() -> None:
    for case, one in answer_fates()[whole.__name__, False].items():
        if one.kept:
            assert one.verdict == "passed on", case


def test_the_report_is_current() -> None:
    assert DOCUMENT.read_text() == render(), "make hostile writes it anew"


def test_the_corpus_is_whole() -> None:
    assert (len(hostile_requests()), len(hostile_answers())) == (2276, 85)
    assert len({case.id for case in hostile_requests()}) == 2276
