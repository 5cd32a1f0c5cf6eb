"""An automaton accepts what Python's re finds, and examples are what they are said to be."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synproxy.lint.automaton import UnsupportedRegexError, example, literal, search

letters = st.sampled_from(["a", "b", "/", ".", "[^/]", "[ab]", r"\w"])
regexes = st.recursive(
    letters,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "*?"])).map(
            lambda pair: f"({pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=6,
)
anchored = st.tuples(
    st.sampled_from(["", "^", "^(a|)"]), regexes, st.sampled_from(["", "$", "|b$", "(/|$)"])
).map("".join)
TEXTS = [bytes(text) for length in range(5) for text in product(b"ab/\n", repeat=length)]


def accepts(pattern: str, text: bytes, flags: int = 0) -> bool:
    return example([search(pattern, flags), literal(text)]) is not None


@given(anchored)
@settings(max_examples=60)
def test_it_accepts_what_re_finds(pattern: str) -> None:
    compiled = re.compile(pattern.encode())
    automaton = search(pattern)
    for text in TEXTS:
        states = automaton.closure([0], first=True)
        for byte in text:
            states = automaton.step(states, byte)
        assert automaton.accepts(states) == bool(compiled.search(text)), text


@given(anchored, anchored)
@settings(max_examples=60)
def test_an_example_is_in_one_and_not_in_the_other(one: str, other: str) -> None:
    wanted, unwanted = re.compile(one.encode()), re.compile(other.encode())
    found = example([search(one)], [search(other)])
    if found is None:
        for text in TEXTS:
            assert not wanted.search(text) or unwanted.search(text), text
    else:
        assert wanted.search(found)
        assert not unwanted.search(found)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("^/a$", b"/a", True),
        ("^/a$", b"/a\n", True),  # "$" matches before a last line break
        ("^/a$", b"/a\n\n", False),
        (r"^/a\Z", b"/a", None),  # not supported
        ("^/[Aa]b", b"/Ab", True),
        ("^/a|b$", b"xxb", True),
        ("^(a|^b)c", b"bc", True),
        ("a^b", b"ab", False),
        ("^a{2,3}$", b"aaaa", False),
        ("^a{2,3}$", b"aaa", True),
        ("^[^a-c]$", b"d", True),
        (r"^\d+$", b"12", True),
        (r"^\D$", b"1", False),
    ],
)
def test_it_reads_regexes_as_re_does(pattern: str, text: bytes, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(UnsupportedRegexError):
            search(pattern)
        return
    assert accepts(pattern, text) is expected
    assert bool(re.search(pattern.encode(), text)) is expected


def test_case_may_be_ignored() -> None:
    assert accepts("^/media[a-c]$", b"/MEDIAB", re.IGNORECASE)
    assert not accepts("^/media$", b"/MEDIA")


def test_a_prefix_accepts_whatever_follows() -> None:
    assert example([literal(b"/a", prefix=True), search("b$")]) == b"/ab"
    assert example([literal(b"/a"), search("b$")]) is None


@pytest.mark.parametrize("pattern", ["(?=a)b", r"(a)\1", r"\bx", "(?!x)y", "(?>a)", "a(?i:b)"])
def test_what_an_automaton_cannot_express_is_refused(pattern: str) -> None:
    with pytest.raises(UnsupportedRegexError):
        search(pattern)


def test_examples_are_readable_and_always_the_same() -> None:
    automaton = search("^/[^/]+/[^x]$")
    assert example([automaton]) == example([search("^/[^/]+/[^x]$")]) == b"/x/a"
