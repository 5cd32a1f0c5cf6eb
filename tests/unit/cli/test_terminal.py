"""Text for a terminal."""

from __future__ import annotations

import io

import pytest

from synproxy.cli.terminal import Paint, table, width
from synproxy.core.printable import printable, show


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("term", "no_color", "painted"),
    [
        ("xterm", None, "\x1b[31mx\x1b[0m"),
        ("xterm", "1", "x"),
        ("xterm", "", "\x1b[31mx\x1b[0m"),
        ("dumb", None, "x"),
        (None, None, "x"),
    ],
)
def test_only_a_terminal_that_wants_colours_gets_them(
    term: str | None, no_color: str | None, painted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("TERM", term), ("NO_COLOR", no_color)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert Paint(Terminal())("x", "red") == painted
    assert Paint(io.StringIO())("x", "red") == "x"


def test_nothing_is_cut_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert width(io.StringIO()) is None
    assert width(Terminal()) == 40


def test_columns_are_aligned_and_lines_cut_at_the_limit() -> None:
    rows = [["a", "bb", "last"], ["aaa", "b", "x" * 20]]
    assert table(rows) == ["a    bb  last", "aaa  b   " + "x" * 20]
    assert table(rows, limit=15) == ["a    bb  last", "aaa  b   xxx..."]
    assert table([]) == []


def test_nothing_of_a_request_moves_the_cursor() -> None:
    assert printable("a\x1b[2Jb\n") == "a\\x1b[2Jb\\n"
    assert show(b"a\xff\x07") == "a\\xff\\x07"
