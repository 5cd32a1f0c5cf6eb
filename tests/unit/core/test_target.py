"""The request-target is refused, split and read as nginx does."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synproxy.core.target import (
    check_target,
    decode_once,
    is_clean,
    normalise_path,
    split_target,
    views,
)
from synproxy.errors import DownstreamError
from tests.support.nginx_path import reference_path
from tests.support.route_tables import matrix_paths

NORMALISED = [
    (b"/", b"/"),
    (b"/a", b"/a"),
    (b"/a/", b"/a/"),
    (b"//", b"/"),
    (b"//a", b"/a"),
    (b"/a//b///c", b"/a/b/c"),
    (b"/a%2Fb", b"/a/b"),
    (b"/a%2f/b", b"/a/b"),
    (b"/%2F%2Fa", b"/a"),
    (b"/.", b"/"),
    (b"/a/.", b"/a/"),
    (b"/a/./b", b"/a/b"),
    (b"/./a", b"/a"),
    (b"/a/%2e/b", b"/a/b"),
    (b"/a/..", b"/"),
    (b"/a/../", b"/"),
    (b"/a/b/..", b"/a/"),
    (b"/a/b/../c", b"/a/c"),
    (b"/a//../b", b"/b"),
    (b"/a/%2E%2e/b", b"/b"),
    (b"/a/.%2E/b", b"/b"),
    (b"/a%2f..%2fb", b"/b"),
    (b"/a/...", b"/a/..."),
    (b"/a/..b", b"/a/..b"),
    (b"/a/.b", b"/a/.b"),
    (b"/a/b..", b"/a/b.."),
    (b"/.well-known/matrix/server", b"/.well-known/matrix/server"),
    (b"/%25", b"/%"),
    (b"/%2541", b"/%41"),
    (b"/a/.%25/b", b"/a/.%/b"),
    (b"/a/..%3F/b", b"/a/..?/b"),
    (b"/a/..%23", b"/a/..#"),
    (b"/a%3Fb=1", b"/a?b=1"),
    (b"/a%23b", b"/a#b"),
    (b"/a%20b", b"/a b"),
    (b"/a+b", b"/a+b"),
    (b"/a%0A", b"/a\n"),
    (b"/%C3%A9", b"/\xc3\xa9"),
    (b"/a\\..\\b", b"/a\\..\\b"),
    (b"/a;x=1/../b", b"/b"),
    (b"/s%79nc", b"/sync"),
    (b"/_synapse%2Fadmin", b"/_synapse/admin"),
]

REFUSED_PATHS = [
    b"/%",
    b"/%2",
    b"/a%2",
    b"/%zz",
    b"/%2z",
    b"/%z2",
    b"/%%",
    b"/%%32%35",
    b"/% 2",
    b"/%+1",
    b"/%00",
    b"/a%00b",
    b"/..",
    b"/../a",
    b"//../a",
    b"/./..",
    b"/a/../../b",
    b"/%2e%2e/a",
    b"/..%2fa",
    b"/a/%2e%2e%2f..",
]


@pytest.mark.parametrize(("raw", "normalised"), NORMALISED)
def test_a_path_is_normalised_as_nginx_does(raw: bytes, normalised: bytes) -> None:
    assert reference_path(raw) == normalised
    assert [normalise_path(raw) for _ in range(2)] == [normalised] * 2


@pytest.mark.parametrize("raw", REFUSED_PATHS)
def test_a_path_that_nginx_refuses_is_refused(raw: bytes) -> None:
    assert reference_path(raw) is None
    for _ in range(2):
        with pytest.raises(DownstreamError) as caught:
            normalise_path(raw)
        assert caught.value.status == 400


ODD_PATHS = st.lists(
    st.sampled_from(
        rb"/ // . .. a b. % %2 %2e %2F %25 %3f %00 %23 %41 %zz + \ ; %7F %C3%A9 admin".split()
    ),
    max_size=12,
).map(lambda parts: b"/" + b"".join(parts))


def either_way(raw: bytes) -> bytes | None:
    try:
        return normalise_path(raw)
    except DownstreamError:
        return None


@given(ODD_PATHS)
@example(b"/" + b"x%2f" * 300)
def test_the_fast_reading_equals_the_plain_one(raw: bytes) -> None:
    assert either_way(raw) == reference_path(raw)
    assert either_way(raw) == reference_path(raw)


@given(ODD_PATHS)
def test_a_normalised_path_has_no_empty_and_no_dot_segments(raw: bytes) -> None:
    path = either_way(raw)
    if path is not None:
        *segments, last = path.split(b"/")[1:]
        assert path.startswith(b"/")
        assert not {b"", b".", b".."} & set(segments)
        assert last not in (b".", b"..")


@given(ODD_PATHS)
def test_all_views_of_a_clean_path_are_the_same(raw: bytes) -> None:
    if is_clean(raw):
        assert views(raw) == (raw,)
        assert normalise_path(raw) == decode_once(raw) == raw


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"/a", (b"/a",)),
        (b"/%61", (b"/a", b"/%61")),
        (b"/%2561", (b"/%61", b"/%2561")),
        (b"/_synapse%2Fadmin", (b"/_synapse/admin", b"/_synapse%2Fadmin")),
        (b"/x/%2e%2e/a", (b"/a", b"/x/../a", b"/x/%2e%2e/a")),
        (b"//a/b/..", (b"/a/", b"//a/b/..", b"/a/b/..")),
        (b"/.well-known/x", (b"/.well-known/x",)),
    ],
)
def test_a_path_has_these_views(raw: bytes, expected: tuple[bytes, ...]) -> None:
    assert views(raw) == expected


def test_a_specification_path_encoded_by_a_client_is_read_as_meant() -> None:
    for _, plain, coded in matrix_paths():
        assert normalise_path(coded) == reference_path(coded)
        if b"//" not in plain:
            assert normalise_path(coded) == plain


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", b"/", b""),
        (b"/a?", b"/a", b""),
        (b"/a?b=/../c", b"/a", b"b=/../c"),
        (b"/a?b?c", b"/a", b"b?c"),
        (b"/?%zz", b"/", b"%zz"),
    ],
)
def test_a_target_is_split_at_the_first_question_mark(
    target: bytes, path: bytes, query: bytes
) -> None:
    assert split_target(target) == (path, query)


@pytest.mark.parametrize("target", [b"/", b"/a?b=c&d=%zz", b"/!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~"])
def test_visible_ascii_after_a_slash_is_a_target(target: bytes) -> None:
    check_target(target)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (b"", "does not start with a slash"),
        (b"*", "does not start with a slash"),
        (b"foo", "does not start with a slash"),
        (b"http://example.org/", "does not start with a slash"),
        (b"/a#b", "fragment in the request-target at offset 2"),
        (b"/a?b#c", "fragment in the request-target at offset 4"),
        (b"/a b", "byte 0x20 in the request-target at offset 2"),
        (b"/a\n", "byte 0x0a in the request-target at offset 2"),
        (b"/a\r", "byte 0x0d"),
        (b"/a\x00", "byte 0x00"),
        (b"/a\x7f", "byte 0x7f"),
        (b"/\x80", "byte 0x80 in the request-target at offset 1"),
        (b"/\xc3\xa9", "byte 0xc3"),
    ],
)
def test_any_other_target_is_refused(target: bytes, reason: str) -> None:
    with pytest.raises(DownstreamError, match=reason) as caught:
        check_target(target)
    assert caught.value.status == 400


@given(st.binary(max_size=20))
def test_a_target_is_accepted_exactly_if_each_byte_is_allowed(tail: bytes) -> None:
    allowed = set(range(0x21, 0x7F)) - {0x23}
    try:
        check_target(b"/" + tail)
        accepted = True
    except DownstreamError:
        accepted = False
    assert accepted == (set(tail) <= allowed)


def test_a_reason_never_quotes_the_target() -> None:
    with pytest.raises(DownstreamError) as caught:
        check_target(b"/sync?access_token=secret ")
    assert "secret" not in str(caught.value)
