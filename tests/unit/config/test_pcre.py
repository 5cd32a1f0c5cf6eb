"""Regexes mean in Python what they mean in nginx."""

from __future__ import annotations

import re
import warnings

import pytest

from synproxy.config.pcre import compile_regex, translate

CASES = [
    # pattern, subject, the text matched (None: no match)
    (r"^/_matrix/client/(r0|v3)/sync$", b"/_matrix/client/v3/sync", b"/_matrix/client/v3/sync"),
    (r"sync$", b"sync\n", b"sync"),
    (r"sync\z", b"sync\n", None),
    (r"sync\z", b"sync", b"sync"),
    (r"sync\Z", b"sync\n", b"sync"),
    (r"sync\Z", b"sync\n\n", None),
    (r"\Async", b"sync", b"sync"),
    (r"a\hb", b"a\tb", b"a\tb"),
    (r"a\hb", b"a\nb", None),
    (r"a\Hb", b"axb", b"axb"),
    (r"a[\h_]b", b"a b", b"a b"),
    (r"a\vb", b"a\nb", b"a\nb"),
    (r"a\Rb", b"a\r\nb", b"a\r\nb"),
    (r"a\Nb", b"a\nb", None),
    (r"\x{2f}a\x2Fb", b"/a/b", b"/a/b"),
    (r"\Qa.b\E.", b"a.bc", b"a.bc"),
    (r"\Qa.b\E.", b"axbc", None),
    (r"\Qa.b", b"a.b", b"a.b"),
    (r"[[:alpha:]_]+", b"1ab_2", b"ab_"),
    (r"[^[:digit:]]+", b"12ab3", b"ab"),
    (r"[]a]+", b"x]a]", b"]a]"),
    (r"[[&&~~||-]+", b"x[&~|-", b"[&~|-"),
    (r"[+--]+", b"*+,-.", b"+,-"),
    (r"[--/]+", b",-./0", b"-./"),
    (r"[^--/]+", b"-,0-", b",0"),
    (r"[a-c--]+", b"xab-d", b"ab-"),
    (r"[a\]]+", b"x]a", b"]a"),
    (r"a{,2}", b"a{,2}", b"a{,2}"),
    (r"a{1,2}", b"aaa", b"aa"),
    (r"a(?#a comment)b", b"ab", b"ab"),
    (r"(?>a+)b", b"aab", b"aab"),
    (r"a++b", b"aab", b"aab"),
    (r"(?<=a)b", b"ab", b"b"),
    (r"(?<!a)b", b"ab", None),
    (r"(?<x>.)\k<x>", b"abb", b"bb"),
    (r"(?'x'.)\k'x'", b"abb", b"bb"),
    (r"(?P<x>.)\k{x}", b"abb", b"bb"),
    (r"(.)\g{1}0", b"abb0", b"bb0"),
    (r"(.)\g1", b"abb", b"bb"),
    (r"\ca", b"\x01", b"\x01"),
    (r"\o{57}", b"/", b"/"),
    (r"\(?<x>", b"(<x>", b"(<x>"),
    (r"[(?<x>]+", b"(?<x>", b"(?<x>"),
    ("é", "é".encode(), "é".encode()),
    (r"\w", "é".encode(), None),
]


@pytest.mark.parametrize(("pattern", "subject", "expected"), CASES)
def test_a_pattern_matches_what_pcre_matches(
    pattern: str, subject: bytes, expected: bytes | None
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = compile_regex(pattern).search(subject)
    assert (found[0] if found else None) == expected


def test_named_groups_keep_their_names() -> None:
    assert list(compile_regex("(?<a>x)(?P<b>y)(?'c'z)").groupindex) == ["a", "b", "c"]


def test_case_is_ignored_in_ascii_only() -> None:
    assert compile_regex("/Sync", ignore_case=True).search(b"/sYNC")
    assert compile_regex("É", ignore_case=True).search("é".encode()) is None


def test_what_needs_no_translation_stays() -> None:
    plain = r"^(/_matrix/client/(api/v1|r0|v3|unstable)/login|/a/[^/]+/[\s\S]+)$"
    assert translate(plain) == plain


@pytest.mark.parametrize(
    "pattern",
    [r"a\Kb", r"\Ga", r"\X", r"[[:^alpha:]]", r"[a", r"(?#a", "(a", "a)", r"\p{L}", "a\\"],
)
def test_what_cannot_be_expressed_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"not supported|missing|without|bad regex"):
        compile_regex(pattern)


def test_broken_grammar_is_left_to_the_compiler() -> None:
    with pytest.raises(re.error):
        re.compile(translate("(a").encode())
