"""Mistakes are shown where they are."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from synproxy.cli.problems import excerpt, print_problems
from synproxy.errors import Problem


def test_every_mistake_is_printed_with_its_line_a_caret_and_a_count(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("listeners:\n  - lisen: 8008\n")
    problems = [
        Problem(str(file), 2, 5, 'unknown key "lisen"', 'did you mean "listen"?'),
        Problem(str(file), 1, 1, "something else"),
    ]
    stream = io.StringIO()
    print_problems(problems, stream)
    assert stream.getvalue() == (
        f'{file}:2:5: unknown key "lisen" (did you mean "listen"?)\n'
        "      - lisen: 8008\n"
        "        ^\n"
        f"{file}:1:1: something else\n"
        "    listeners:\n"
        "    ^\n"
        "2 mistakes\n"
    )


def test_a_file_that_cannot_be_read_again_has_no_excerpt(tmp_path: Path) -> None:
    stream = io.StringIO()
    print_problems([Problem(str(tmp_path / "gone"), 1, 1, "unreadable")], stream)
    assert stream.getvalue() == f"{tmp_path}/gone:1:1: unreadable\n1 mistake\n"


@pytest.mark.parametrize(
    ("line", "column", "shown"),
    [
        ("a: b", 4, ["    a: b", "       ^"]),
        ("\ta: b", 2, ["     a: b", "     ^"]),
        ("日本: b", 5, ["    日本: b", "          ^"]),
        ("a: \x1b[31m", 4, ["    a: \\x1b[31m", "       ^"]),
        ("a", 99, ["    a", "     ^"]),
    ],
)
def test_the_caret_stands_below_the_place(line: str, column: int, shown: list[str]) -> None:
    assert excerpt([line], 1, column) == shown


@pytest.mark.parametrize("line", [0, 2])
def test_a_line_that_does_not_exist_has_no_excerpt(line: int) -> None:
    assert excerpt(["only"], line, 1) == []


@pytest.mark.parametrize("column", [1, 500, 1000])
def test_a_long_line_is_cut_around_the_place(column: int) -> None:
    text = "".join(chr(ord("a") + number % 26) for number in range(1000))
    shown, caret = excerpt([text], 1, column)
    assert len(shown) < 200
    assert shown[len(caret) - 1] == text[column - 1]
