"""Words are cut as nginx cuts them, and a mistake has its line and column."""

from __future__ import annotations

import pytest

from synproxy.errors import ConfigError
from synproxy.nginx.lexer import tokens

WORDS = [
    ("a b;", ["a", "b", ";"]),
    ("a{b;}", ["a", "{", "b", ";", "}"]),
    ("a # no b\n c;", ["a", "c", ";"]),
    ("a b#c;", ["a", "b#c", ";"]),
    ("a 'b c' \"d;e\";", ["a", "b c", "d;e", ";"]),
    (r"a '\'' '\t' '\d' \;;", ["a", "'", "\t", r"\d", r"\;", ";"]),
    ("a ${b}c;", ["a", "${b}c", ";"]),
    ("a '';", ["a", "", ";"]),
    ("location ~ ^/x}y$ {", ["location", "~", "^/x}y$", "{"]),
    ('if ($a = "b") {', ["if", "($a", "=", "b", ")", "{"]),
    ("x_by_lua_block { if a { } } b;", ["x_by_lua_block", " if a { } ", ";", "b", ";"]),
]

MISTAKES = [
    ("a 'b\nc;", 1, 3, "never closed"),
    ("a;\n 'b'c;", 2, 5, "a space is missing"),
    ("a " + "b" * 4097, 1, 3, "4096 bytes"),
]


@pytest.mark.parametrize(("text", "words"), WORDS)
def test_words_are_cut_as_nginx_cuts_them(text: str, words: list[str]) -> None:
    assert [token.text for token in tokens(text, "f")] == words


def test_a_word_knows_its_line_and_column() -> None:
    assert [(token.line, token.column) for token in tokens("a\n  'b\nc' d;", "f")] == [
        *((1, 1), (2, 3)),
        *((3, 4), (3, 5)),
    ]


@pytest.mark.parametrize(("text", "line", "column", "message"), MISTAKES)
def test_a_mistake_has_its_place(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        list(tokens(text, "nginx.conf"))
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.column) == ("nginx.conf", line, column)
    assert message in problem.message
