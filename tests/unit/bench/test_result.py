"""Costs and ratios out of samples, and the file they are kept in."""

from __future__ import annotations

from bench.lib import result
from bench.lib.stats import Spread
from tests.unit.bench.runs import run, sample


def test_a_ratio_is_taken_within_each_round() -> None:
    results = run((10, 15), (20, 28), (40, 68))
    assert results.ratio("a", "synproxy", "nginx") == Spread(1.5, 1.4, 1.7)


def test_a_ratio_may_be_taken_between_rows_and_of_rates() -> None:
    results = run((10, 20), (10, 40))
    ratio = results.ratio("a", "synproxy", "nginx", to_row="g kept", of="rate")
    assert ratio == Spread(0.75, 0.5, 1.0)


def test_one_invalid_round_takes_the_figure_away() -> None:
    results = run((10, 15), (20, 30))
    results.rounds[1][1] = sample("a", "synproxy", 30, "a wrong body")
    assert results.cost("a", "synproxy") is None
    assert results.ratio("a", "synproxy", "nginx") is None
    assert results.cost("a", "nginx") == Spread(15, 10, 20)


def test_an_invalid_yardstick_takes_the_ratio_away() -> None:
    results = run((10, 15))
    results.rounds[0][0] = sample("a", "nginx", 10, "an error")
    assert results.ratio("a", "synproxy", "nginx") is None
    assert results.cost("a", "synproxy") == Spread(15, 15, 15)


def test_what_did_not_run_has_neither_cost_nor_ratio() -> None:
    results = run((10, 15))
    assert results.cost("a", "caddy") is None
    assert results.ratio("a", "synproxy", "caddy") is None
    assert results.ratio("a", "caddy", "nginx") is None
    assert results.cost("g kept", "synproxy") is None


def test_a_problem_is_told_once() -> None:
    results = run((10, 15), (10, 15))
    for samples in results.rounds:
        samples[1] = sample("a", "synproxy", 15, "a wrong body", "an error")
    assert results.problems() == ["a, synproxy: a wrong body", "a, synproxy: an error"]


def test_what_is_written_can_be_read() -> None:
    results = run((10, 15), (20, 30))
    results.rounds[0][0] = sample("a", "nginx", 10, "an error")
    assert result.loads(results.dumps()) == results
