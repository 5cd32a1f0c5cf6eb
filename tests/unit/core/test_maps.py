"""Maps answer as nginx's map does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.config.model import Map
from synproxy.core.variables import Scope, Variables
from tests.unit.core.test_variables import Request

SEED = {
    "connection_upgrade": Map(source="$http_upgrade", values={"": ""}, default="upgrade"),
    "sync": Map(source="$arg_since", values={"": "initial_sync"}, default="normal_sync"),
    "accesstoken_from_urlparam": Map(
        source="$arg_access_token",
        values={"~syt_(?<username>.*?)_.*": "$username"},
        default="$arg_access_token",
    ),
    "mxid_localpart": Map(
        source="$http_authorization",
        values={"~Bearer syt_(?<username>.*?)_.*": "$username", "": "$accesstoken_from_urlparam"},
        default="$http_authorization",
    ),
}


def look_up(declared: Map, query: bytes = b"", **others: Map) -> bytes:
    variables = Variables({"map": declared, **others})
    return variables.template("$map").render(Request(query=query))


def arg_map(values: dict[str, str], default: str = "") -> Map:
    return Map(source="$arg_k", values=values, default=default)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", b"initial_sync"),
        (b"since=", b"initial_sync"),
        (b"since", b"initial_sync"),
        (b"timeout=0&since=s1", b"normal_sync"),
        (b"SINCE=s1", b"normal_sync"),
    ],
)
def test_sync_requests_are_told_apart_by_since(query: bytes, expected: bytes) -> None:
    assert Variables(SEED).template("$sync").render(Request(query=query)) == expected


@pytest.mark.parametrize(
    ("authorization", "query", "expected"),
    [
        (b"Bearer syt_YWxpY2U_AbCd_0a1b2c", b"", b"YWxpY2U"),
        (b"Bearer syt__x", b"", b""),
        (b"Bearer syt_YWxpY2U", b"", b"Bearer syt_YWxpY2U"),
        (b"bearer syt_YWxpY2U_x_y", b"", b"bearer syt_YWxpY2U_x_y"),
        (b"Bearer  syt_YWxpY2U_x_y", b"", b"Bearer  syt_YWxpY2U_x_y"),
        (b"Bearer mct_AbCd", b"access_token=syt_b_c", b"Bearer mct_AbCd"),
        (b"", b"access_token=syt_YWxpY2U_AbCd_0a", b"YWxpY2U"),
        (b"", b"access_token=syt_YWxpY2U%5Fx", b"syt_YWxpY2U%5Fx"),
        (b"", b"access_token=syt_YWxpY2U%5Fx_y", b"YWxpY2U%5Fx"),
        (b"", b"access_token=mct_AbCd", b"mct_AbCd"),
        (b"", b"", b""),
    ],
)
def test_the_localpart_is_read_from_the_token(
    authorization: bytes, query: bytes, expected: bytes
) -> None:
    request = Request(query=query, headers={b"authorization": authorization})
    assert Variables(SEED).template("$mxid_localpart").render(request) == expected


def test_strings_come_before_regexes_and_regexes_in_their_order() -> None:
    declared = arg_map({"~b": "b", "~a": "a", "ab": "string", "~*C": "c"}, "none")
    answers = {b"ab": b"string", b"abx": b"b", b"ax": b"a", b"xc": b"c", b"x": b"none"}
    assert {key: look_up(declared, b"k=" + key) for key in answers} == answers


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("Abc", b"aBC", b"hit"),
        ("abc", b"abc", b"hit"),
        ("É", "É".encode(), b"hit"),
        ("É", "é".encode(), b""),
        ("1", b"1", b"hit"),
        (r"\~x", b"~x", b"hit"),
        (r"\\x", rb"\x", b"hit"),
        ("~^Abc$", b"abc", b""),
        ("~*^Abc$", b"aBC", b"hit"),
        ("~B", b"aBc", b"hit"),
        ("~^$", b"", b""),  # nginx tries no regex on an empty value
        ("", b"", b"hit"),
    ],
)
def test_a_key_matches_as_in_nginx(key: str, value: bytes, expected: bytes) -> None:
    assert look_up(arg_map({key: "hit"}), b"k=" + value) == expected
    assert look_up(arg_map({key: "hit", "~unused^": ""}), b"k=" + value) == expected


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("~^(a+)(b+)?(c+)$", "$1-$2-$3", b"aa--c"),
        ("~^(?<first>a+)(?P<second>c+)$", "$second$First", b"caa"),
        ("~^(?<first>a+)", "${first}_x", b"aa_x"),
        ("~a", "$arg_k/$other", b"aac/from other"),
        ("~(?<other>c)", "$other", b"c"),
        ("~c", "", b""),
    ],
)
def test_the_value_of_a_regex_may_use_its_groups_and_any_variable(
    key: str, text: str, expected: bytes
) -> None:
    other = Map(source="", default="from other")
    assert look_up(arg_map({key: text}), b"k=aac", other=other) == expected


def test_a_map_without_a_default_gives_nothing() -> None:
    assert look_up(arg_map({"a": "b"}), b"k=c") == b""


def test_the_default_may_be_the_source_itself() -> None:
    assert look_up(arg_map({"a": "b"}, "$arg_k"), b"k=C") == b"C"


def test_values_may_be_maps_and_are_read_when_needed() -> None:
    other = Map(source="$arg_o", values={"1": "one"}, default="many")
    declared = arg_map({"a": "$other", "b": "x-$other-$arg_k"}, "plain")
    assert look_up(declared, b"k=a&o=1", other=other) == b"one"
    assert look_up(declared, b"k=B&o=2", other=other) == b"x-many-B"
    assert look_up(declared, b"k=c", other=other) == b"plain"


def test_the_source_may_be_a_text_of_several_variables() -> None:
    declared = Map(source="$request_method:$arg_k", values={"get:1": "yes"}, default="no")
    assert look_up(declared, b"k=1") == b"yes"
    assert look_up(declared, b"k=2") == b"no"


@pytest.mark.parametrize(
    ("declared", "scope"),
    [
        (Map(source="x", values={"x": "y"}), Scope.CONSTANT),
        (Map(source="$server_port", values={"443": "y"}), Scope.CONNECTION),
        (Map(source="$scheme", values={"https": "$host"}), Scope.HEADERS),
        (Map(source="$scheme", default="$uri"), Scope.REQUEST),
        (Map(source="$scheme", values={"~h": "$arg_k"}), Scope.REQUEST),
        (Map(source="$http_upgrade", values={"~(.)": "$1"}), Scope.HEADERS),
        (Map(source="$arg_k", values={"~(.)": "$1"}), Scope.REQUEST),
    ],
)
def test_the_scope_of_a_map_covers_all_that_it_may_read(declared: Map, scope: Scope) -> None:
    template = Variables({"map": declared}).template("$map")
    assert template.scope is scope


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ({"a": Map(source="$a")}, r"cycle: \$a -> \$a"),
        (
            {"a": Map(source="$b"), "b": Map(source="x", default="$c"), "c": Map(source="$b")},
            r"cycle: \$b -> \$c -> \$b",
        ),
        ({"a": Map(source="$arg_k", values={"~x": "$a"})}, r"cycle: \$a -> \$a"),
        ({"a": Map(source="$nothing")}, r"in the map \$a: unknown variable \$nothing"),
        (
            {"a": Map(source="$b"), "b": Map(source="x", default="$nothing")},
            r"in the map \$b: unknown variable \$nothing",
        ),
        ({"a": arg_map({"~(?<user>.)": "$name"})}, r"unknown variable \$name"),
        ({"a": arg_map({"~(?<user>.)": "x", "b": "$user"})}, r"unknown variable \$user"),
        ({"a": arg_map({"~(.)": "$2"})}, r"\$2 is used, but the regex has 1 groups"),
        ({"a": arg_map({"~(.)": "$0"})}, r"\$0 is used"),
        ({"a": arg_map({"b": "$1"})}, r"unknown variable \$1"),
        ({"a": arg_map({"~(": "x"})}, r"in the map \$a: bad regex"),
        ({"a": arg_map({"b": "x", "B": "y"})}, "given twice"),
        ({"a": arg_map({"b": "x", r"\b": "y"})}, "given twice"),
    ],
)
def test_a_map_that_cannot_work_is_refused(maps: dict[str, Map], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Variables(maps)


_LETTERS = st.text(alphabet="aAbB1", max_size=3)


@given(
    values=st.dictionaries(_LETTERS.map(str.lower), _LETTERS, max_size=4),
    default=st.sampled_from(["", "d", "$arg_k"]),
    value=_LETTERS,
)
def test_every_shortcut_answers_as_the_plain_lookup(
    values: dict[str, str], default: str, value: str
) -> None:
    expected = values.get(value.lower(), value if default == "$arg_k" else default)
    query = f"k={value}".encode()
    assert look_up(arg_map(values, default), query) == expected.encode()
    assert look_up(arg_map({**values, "~c": "regex"}, default), query) == expected.encode()
