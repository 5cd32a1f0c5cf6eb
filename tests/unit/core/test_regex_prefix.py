"""What is read from a regex is true of every path that it matches."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.core.regex_prefix import LIMIT, Alternative, alternatives, last_segments
from synproxy.core.route_index import PrefixIndex, RegexIndex


def known(regex: str) -> set[tuple[tuple[bytes | None, ...], bytes]] | None:
    found = alternatives(re.compile(regex.encode()))
    return None if found is None else {(each.segments, each.partial) for each in found}


@pytest.mark.parametrize(
    ("regex", "expected"),
    [
        (r"^/a/b$", {((b"", b"a"), b"b")}),
        (r"\A/a/b", {((b"", b"a"), b"b")}),
        (r"^/a/(r0|v3)/x$", {((b"", b"a", b"r0"), b"x"), ((b"", b"a", b"v3"), b"x")}),
        (r"^(/a|/b/)", {((b"",), b"a"), ((b"", b"b"), b"")}),
        (r"(^/a|^/b)", {((b"",), b"a"), ((b"",), b"b")}),
        (r"^/v[12]/", {((b"", b"v1"), b""), ((b"", b"v2"), b"")}),
        (r"^/rooms/[^/]+/join$", {((b"", b"rooms", None), b"join")}),
        (r"^/rooms/!?\w*/join$", {((b"", b"rooms", None), b"join")}),
        (r"^/rooms/(?P<room>[^/]*:[^/]*)/", {((b"", b"rooms", None), b"")}),
        (r"^/rooms/.*/join$", {((b"", b"rooms"), b"")}),
        (r"^/m.login/x$", {((b"",), b"m")}),
        (r"^/a(/b)?/c", {((b"", b"a"), b"c"), ((b"", b"a", b"b"), b"c")}),
        (r"^/a(/b)*/c", {((b"",), b"a")}),
        (r"^/a(?=/b)/b", {((b"", b"a"), b"b")}),
        (r"^/(a)\1", {((b"",), b"a")}),
        (r"^/(?>a|b)c", {((b"",), b"ac"), ((b"",), b"bc")}),
        (r"^", {((), b"")}),
        (r"^[^/]*/a", {((None,), b"a")}),
        (r"/a", None),
        (r"", None),
        (r"^/a|media$", None),
        (r"^?/a", None),
        (r"(?m)^/a", None),
        (r"(?m:^/a)", None),
        (r"(?=^/a)/a", None),
    ],
)
def test_the_known_beginning_of_a_regex(
    regex: str, expected: set[tuple[tuple[bytes | None, ...], bytes]] | None
) -> None:
    if regex.startswith("^?"):
        regex = "(?:^)?" + regex[2:]
    assert known(regex) == expected


def test_too_many_alternatives_end_the_known_part() -> None:
    found = alternatives(re.compile(rb"^/" + b"(aa|bb|cc|dd)" * 8))
    assert found is not None
    assert 0 < len(found) <= 5 * LIMIT
    assert all(each.segments == (b"",) and len(each.partial) <= 16 for each in found)


@pytest.mark.parametrize(
    ("regex", "expected"),
    [
        (r"^/a/.*/join$", {b"join"}),
        (r"/.*/(join|leave)$", {b"join", b"leave"}),
        (r"^/a/.*/x(y)?$", {b"x", b"xy"}),
        (r"^/a/\Z", {b""}),
        (r"^/a/join", None),
        (r"^/a/[^/]+$", None),
        (r"^/a/.*$", None),
        (r"^/(a/b|c)$", None),
        (r"media$", None),
        (r"^(/a|/b)$", None),
        (r"(?m)/a$", None),
        (r"/a\n$", None),
        (r"/a\b$", None),
    ],
)
def test_the_known_end_of_a_regex(regex: str, expected: set[bytes] | None) -> None:
    found = last_segments(re.compile(regex.encode()))
    assert found == (None if expected is None else frozenset(expected))


PIECES = st.sampled_from(
    [
        r"/",
        r"/a",
        r"/ab",
        r"/b",
        r"a",
        r"b",
        r".",
        r".*",
        r".+",
        r"[^/]+",
        r"[^/]*",
        r"\w+",
        r"\d",
        r"[ab]",
        r"[^a]",
        r"[\s\S]+",
        r"(a|b)",
        r"(/a|/b/)",
        r"(?:/a)?",
        r"(/b)*",
        r"a+",
        r"b?",
        r"\n",
        r"$",
        r"^",
        r"\Z",
        r"\A",
        r"\b",
        r"(?=/a)",
        r"(?!b)",
        r"(?i:A)",
        r"(a(b|/)c)?",
        r"(?>a|ab)",
        r"/[^/]+/",
        r"/.*/",
        r"(?P<x>a)",
        r"{2}",
        r"|",
        r"/rooms",
        r"/join$",
    ]
)
REGEXES = st.tuples(
    st.sampled_from(["^/", "^", "^(", "", "^(?:/a|/b)"]), st.lists(PIECES, max_size=7)
)
PATHS = st.lists(
    st.sampled_from(
        ["/", "/a", "/b", "/ab", "a", "b", "A", "x", "\n", "/rooms", "/join", "//", "1"]
    ),
    max_size=8,
).map(lambda parts: ("/" + "".join(parts)).encode())


def build(start: str, pieces: list[str], flags: int) -> re.Pattern[bytes] | None:
    text = start + "".join(pieces) + (")" if start.endswith("(") else "")
    try:
        return re.compile(text.encode(), flags)
    except re.error:
        return None


def begins(alternative: Alternative, path: bytes) -> bool:
    segments = path.lower().split(b"/")
    count = len(alternative.segments)
    return (
        len(segments) > count
        and all(
            want is None or want.lower() == have
            for want, have in zip(alternative.segments, segments, strict=False)
        )
        and segments[count].startswith(alternative.partial.lower())
    )


@given(REGEXES, st.sampled_from([0, int(re.IGNORECASE)]), st.lists(PATHS, max_size=10))
def test_what_is_known_holds_for_every_match(
    parts: tuple[str, list[str]], flags: int, paths: list[bytes]
) -> None:
    regex = build(*parts, flags)
    if regex is None:
        return
    starts, ends = alternatives(regex), last_segments(regex)
    for path in paths:
        if starts is not None:
            assert bool(regex.match(path)) == bool(regex.search(path))
        if regex.search(path):
            assert starts is None or any(begins(each, path) for each in starts)
            last = path.rpartition(b"/")[2].removesuffix(b"\n").lower()
            assert ends is None or last in {end.lower() for end in ends}


@given(st.lists(REGEXES, max_size=8), st.lists(PATHS, max_size=10))
def test_the_candidates_hold_every_regex_that_matches(
    parts: list[tuple[str, list[str]]], paths: list[bytes]
) -> None:
    regexes = [regex for regex in (build(*each, 0) for each in parts) if regex is not None]
    index = RegexIndex(regexes)
    for path in paths:
        found = list(index.candidates(path))
        assert found == sorted(set(found))
        assert {n for n, regex in enumerate(regexes) if regex.search(path)} <= set(found)


def test_a_path_of_known_segments_has_few_candidates_among_many() -> None:
    regexes = [re.compile(b"^/(r0|v3)/rooms/[^/]+/%d$" % n) for n in range(99)]
    index = RegexIndex([*regexes, re.compile(b"^/v3/"), re.compile(b"anywhere")])
    assert list(index.candidates(b"/v3/rooms/!a:b/17")) == [17, 99, 100]
    assert list(index.candidates(b"/V3/Rooms/!a:b/17\n")) == [17, 99, 100]
    assert list(index.candidates(b"/r0/rooms/17")) == [100]


def test_all_are_candidates_where_a_tree_would_be_too_large() -> None:
    """Each segment is one of twenty or any: 21 places for the next, and so on."""
    regexes = [
        re.compile(b"^" + b"/[^/]+" * depth + b"/%d/" % number)
        for depth in range(8)
        for number in range(20)
    ]
    assert list(RegexIndex(regexes).candidates(b"/no/such/path")) == list(range(160))


@given(st.sets(st.text("ab/", max_size=5), max_size=12), st.text("ab/", max_size=8))
def test_the_longest_prefix_is_found(keys: set[str], text: str) -> None:
    index = PrefixIndex({key.encode(): key for key in keys})
    expected = max((key for key in keys if text.startswith(key)), key=len, default=None)
    assert index.longest(text.encode()) == expected
