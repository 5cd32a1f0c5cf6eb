"""The Markdown of a run, its targets, and its picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.lib import plot
from bench.lib.report import report
from bench.lib.table import markdown
from bench.lib.targets import Target
from tests.unit.bench.runs import run, sample


def lines(text: str, start: str) -> list[list[str]]:
    """The cells of the table lines that begin with a cell ``start``."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return [line for line in cells if line[0] == start]


def test_a_table_lines_up() -> None:
    assert markdown(["proxy", "us"], [["a", "1.5"], ["bcdefg", "200000"]]).splitlines() == [
        "| proxy  |     us |",
        "| ------ | -----: |",
        "| a      |    1.5 |",
        "| bcdefg | 200000 |",
    ]


def test_a_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rows of \[1, 2\] cells"):
        markdown(["proxy", "us"], [["a"]])


def test_the_headline_has_medians_and_ratios_within_rounds() -> None:
    text = report(run((10, 15), (20, 28), (40, 68)), "cost.svg")
    assert "Median of 3 rounds (least-greatest)" in text
    assert "![CPU relative to nginx](cost.svg)" in text
    assert lines(text, "a")[0] == ["a", "syncs", "us/request", "20.0", "28.0 (1.50x)"]
    assert lines(text, "synproxy")[0][:3] == ["synproxy", "28.0 (15.0-68.0)", "1.50 (1.40-1.70)"]


def test_what_cannot_be_done_yet_is_said_and_not_judged() -> None:
    text = report(run((10, 15)), "")
    assert lines(text, "g kept")[0][3:] == ["20.0", "not yet"]
    assert ["g kept", "at most 2 x nginx", "not yet", "-"] in lines(text, "g kept")


def test_a_ratio_that_means_nothing_is_not_shown() -> None:
    assert lines(report(run((10, 15)), ""), "d down memory")[0][3:] == ["0.100", "0.700"]


def test_an_invalid_figure_is_left_out_loudly() -> None:
    results = run((10, 15))
    results.rounds[0][1] = sample("a", "synproxy", 15, "Content-Encoding: None instead of 'gzip'")
    text = report(results, "")
    assert "**INVALID: 1 problems" in text
    assert "- a, synproxy: Content-Encoding: None instead of 'gzip'" in text
    assert lines(text, "a")[0][3:] == ["10.0", "INVALID"]
    assert ["a", "at most 1.5 x nginx", "INVALID", "-"] in lines(text, "a")


def test_a_figure_taken_beside_other_programs_is_marked() -> None:
    results = run((10, 15))
    text = report(results, "")
    assert "`*`" not in text
    results.rounds[0][0] = replace(sample("a", "nginx", 10), foreign=0.4)
    text = report(results, "")
    assert lines(text, "a")[0][3:] == ["10.0*", "15.0 (1.50x)"]
    assert "`*`: in some round other programs took over 10 %" in text


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        (Target("a", 1.5, "nginx"), ["at most 1.5 x nginx", "1.50 (1.40-1.70)", "met"]),
        (Target("a", 1.4, "nginx"), ["at most 1.4 x nginx", "1.50 (1.40-1.70)", "MISSED"]),
        (Target("a", 28), ["at most 28", "28.00 (15.00-68.00)", "met"]),
        (
            Target("a", 1, to_row="a", of="rate", at_least=True),
            ["at least 1 x the requests/s of a", "1.00", "met"],
        ),
    ],
)
def test_a_target_is_judged_by_the_median(
    target: Target, verdict: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.lib.report.TARGETS", (target,))
    text = report(run((10, 15), (20, 28), (40, 68)), "")
    assert ["a", *verdict] in lines(text, "a")


def test_the_picture_is_drawn_in_every_format(tmp_path: Path) -> None:
    files = [tmp_path / "cost.svg", tmp_path / "cost.png"]
    assert plot.draw(run((10, 15), (20, 28)), files)
    assert files[0].read_text().lstrip().startswith("<?xml")
    assert files[1].read_bytes().startswith(b"\x89PNG")


def test_a_picture_without_a_comparison_is_not_drawn(tmp_path: Path) -> None:
    results = run((10, 15))
    results.rounds[0] = [one for one in results.rounds[0] if one.proxy == "nginx"]
    assert not plot.draw(results, [tmp_path / "cost.png"])
    assert not (tmp_path / "cost.png").exists()


def test_only_rows_that_can_be_compared_are_in_the_picture() -> None:
    results = run((10, 15))
    assert [list(plot.ratios(results, row)) for row in results.rows] == [
        ["nginx", "synproxy"],
        ["nginx"],
        [],
    ]
