"""A regex is called slow if and only if the steps of a backtracking matcher show it: no clock."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synproxy.config.pcre import compile_regex
from synproxy.lint.automaton import UnsupportedRegexError
from synproxy.lint.backtracking import Growth, blowup, steps
from synproxy.synapse.catalogue import load_catalogue

EXPONENTIAL = [
    "^(a+)+$",
    "^(a*)*b",
    "(a|a)*b",
    "^((a|a)*b)+c",
    "(x+x+)+y",
    r"^(\w+\s?)*$",
    "^(a{1,30}){1,30}$",
    r"^/_matrix/([^/]+/?)*x$",
    "^(a|b|ab)*c",
]
QUADRATIC = [
    "^/a/.*/b/.*/c$",
    "^.*x.*y",
    "x.*y$",
    "^/_matrix/client/(api/v1|r0|v3|unstable/.*)/rooms/.*/aliases",
    # A path may hold line breaks (%0A), which "." does not take.
    "^/_matrix/client/(api/v1|r0|v3|unstable)/rooms/.*/context/.*$",
    "^/_synapse/admin/v1/room/.*/media.*$",
]
LINEAR = [
    "^/x/.*/y$",
    "^(a+)+",  # whatever follows, it has matched
    "^(a|ab)*c$",  # two ways, but never with the same letters twice
    "^/a(b|c)*$",
    "^([^/]+/)*$",
    "^/rooms/[^/]*/thread/.*/subscription$",
    "^a{1,30}$",
    "Bearer syt_(?<username>.*?)_.*",
    r"MSIE [1-6]\.",
    r"^/_synapse/admin/v1/(purge_)?(media(_cache)?|room|user)/[\s\S]+|media$",
    "",
    "^",
]


def growth(pattern: str) -> str:
    found = blowup(compile_regex(pattern))
    return "linear" if found is None else f"{found.growth} {found.degree}"


@pytest.mark.parametrize("pattern", EXPONENTIAL)
def test_steps_double_with_each_turn_of_an_exponential_regex(pattern: str) -> None:
    regex = compile_regex(pattern)
    found = blowup(regex)
    assert found is not None
    assert found.growth is Growth.EXPONENTIAL
    assert not regex.search(found.text(3))
    counted = [steps(regex, found.text(turns)) for turns in range(4, 16)]
    assert all(later >= 1.4 * before for before, later in pairwise(counted))


@pytest.mark.parametrize("pattern", QUADRATIC)
def test_steps_grow_with_the_square_of_a_quadratic_text(pattern: str) -> None:
    regex = compile_regex(pattern)
    found = blowup(regex)
    assert found is not None
    assert (found.growth, found.degree) == (Growth.POLYNOMIAL, 2)
    assert not regex.search(found.text(20))
    few, more = (steps(regex, found.text(turns)) for turns in (200, 400))
    assert 3.5 < more / few < 4.5


def test_the_power_is_told() -> None:
    assert growth("^(.*)(.*)(.*)z$") == "polynomial 3"
    assert growth("^(.*)(.*)(.*)(.*)z$") == "polynomial 4"


@pytest.mark.parametrize("pattern", LINEAR)
def test_a_regex_without_two_ways_through_a_loop_is_left_alone(pattern: str) -> None:
    assert growth(pattern) == "linear"


@pytest.mark.parametrize("pattern", ["(?=a)b", r"(a+)\1", r"\bx+"])
def test_what_is_not_understood_is_said_to_be_so(pattern: str) -> None:
    with pytest.raises(UnsupportedRegexError):
        blowup(compile_regex(pattern))


@pytest.mark.parametrize(
    "endpoint",
    [e for group in load_catalogue().groups for e in group.endpoints],
    ids=lambda endpoint: endpoint.name,
)
def test_no_regex_of_the_catalogue_is_slow(endpoint: Any) -> None:
    assert growth(endpoint.path) == "linear"


# The proof that what is counted are the steps of a matcher that tries every way: such a matcher.

_parser: Any = importlib.import_module("re._parser")
Rest = Callable[[int], bool]


class Matcher:
    """Backtracks over a parse tree, and counts the letters that it takes."""

    def __init__(self, pattern: str, text: bytes) -> None:
        self._tree = list(_parser.parse(pattern.encode()))
        self._text = text
        self.steps = 0

    def fails(self) -> bool:
        return not self._sequence(self._tree, 0, lambda _: True)

    def _sequence(self, items: list[Any], at: int, rest: Rest) -> bool:
        if not items:
            return rest(at)
        (operator, argument), *more = items
        return self._item(str(operator), argument, at, lambda to: self._sequence(more, to, rest))

    def _item(self, operator: str, argument: Any, at: int, rest: Rest) -> bool:
        if operator == "LITERAL":
            if at < len(self._text) and self._text[at] == argument:
                self.steps += 1
                return rest(at + 1)
            return False
        if operator == "IN":  # what re makes of (?:a|b)
            letters = [letter for _, letter in argument]
            if at < len(self._text) and self._text[at] in letters:
                self.steps += 1
                return rest(at + 1)
            return False
        if operator == "BRANCH":
            return any(self._sequence(list(branch), at, rest) for branch in argument[1])
        if operator == "SUBPATTERN":
            return self._sequence(list(argument[3]), at, rest)
        low, high, inner = argument
        return self._repeat(low, high, list(inner), at, rest)

    def _repeat(self, low: int, high: Any, inner: list[Any], at: int, rest: Rest) -> bool:
        def again(to: int) -> bool:
            if to == at and low == 0:
                return False  # a turn that takes nothing is none
            following = high if high == _parser.MAXREPEAT else high - 1
            return self._repeat(max(low - 1, 0), following, inner, to, rest)

        if high and self._sequence(inner, at, again):
            return True
        return low == 0 and rest(at)


small = st.recursive(
    st.sampled_from(["a", "b"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?"])).map(lambda p: f"(?:{p[0]}){p[1]}"),
    ),
    max_leaves=5,
)


@given(small, st.text("ab", max_size=7))
@settings(max_examples=300)
def test_the_steps_counted_are_those_of_a_matcher(pattern: str, text: str) -> None:
    pattern = f"^{pattern}c"  # nothing in the text matches it, so every way is tried
    matcher = Matcher(pattern.removeprefix("^"), text.encode())
    assert matcher.fails()
    assert steps(re.compile(pattern.encode()), text.encode()) == matcher.steps


@given(small)
@settings(max_examples=40)
def test_what_is_not_called_exponential_is_not(pattern: str) -> None:
    """Every text of up to ten letters is tried: ten letters double 32 times oftener than five."""
    regex = re.compile(f"^{pattern}c".encode())
    found = blowup(regex)
    if found is not None and found.growth is Growth.EXPONENTIAL:
        return
    worst = [
        max(steps(regex, bytes(text)) for text in product(b"ab", repeat=length))
        for length in (5, 10)
    ]
    assert worst[1] <= 30 * max(worst[0], 1)
