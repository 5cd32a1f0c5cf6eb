"""A route is chosen as nginx chooses a location, and by method."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synproxy.config.model import Route
from synproxy.core.routes import RouteMatch, RouteTable
from tests.support.route_tables import (
    matrix_paths,
    nginx_choice,
    route,
    seed_routes,
    shipped_routes,
    synapse_routes,
)

METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH")


def chosen(routes: list[Route] | tuple[Route, ...], path: bytes, method: bytes = b"GET") -> str:
    match = RouteTable(routes).match(path, method)
    return "" if match is None else routes[match.index].location


@pytest.mark.parametrize(
    ("locations", "path", "expected"),
    [
        (["/", "= /"], b"/", "= /"),
        (["/", "= /"], b"/a", "/"),
        (["= /a", "~ ^/a$", "^~ /a"], b"/a", "= /a"),
        (["/a", "/a/b", "/"], b"/a/b/c", "/a/b"),
        (["/a", "/a/b", "/"], b"/a/c", "/a"),
        (["/a"], b"/ab", "/a"),
        (["/a/"], b"/a", ""),
        (["/a", "~ b"], b"/ab", "~ b"),
        (["^~ /a", "~ b"], b"/ab", "^~ /a"),
        (["^~ /a", "/ab", "~ b"], b"/ab", "~ b"),
        (["/", "^~ /ab", "~ b"], b"/ab", "^~ /ab"),
        (["~ ^/a", "~ ^/ab"], b"/ab", "~ ^/a"),
        (["~ ^/ab", "~ ^/a"], b"/ab", "~ ^/ab"),
        (["~ ^/AB"], b"/ab", ""),
        (["~* ^/AB"], b"/ab", "~* ^/AB"),
        (["~ media$"], b"/x/media", "~ media$"),
        (["~ media$"], b"/media/x", ""),
        (["~ ^/a$"], b"/a\n", "~ ^/a$"),
        (["~ ^/a.$"], b"/a\n", ""),
        ([r"~ ^/(?<name>\w+)$"], b"/x", r"~ ^/(?<name>\w+)$"),
        (["=/a"], b"/a", "=/a"),
        (["^~/a", "~ a"], b"/a", "^~/a"),
        (["~*A"], b"/a", "~*A"),
        (["/\u00e9"], b"/\xc3\xa9x", "/\u00e9"),
        (["/a", "/a"], b"/a", "/a"),
        ([], b"/", ""),
    ],
)
def test_the_choice_among_locations_is_nginx_s(
    locations: list[str], path: bytes, expected: str
) -> None:
    assert chosen([route(location) for location in locations], path) == expected


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (b"GET", "reader"),
        (b"HEAD", "reader"),
        (b"PUT", "writer"),
        (b"POST", "main"),
        (b"get", "main"),
        (b"X" * 300, "main"),
    ],
)
def test_a_route_without_the_method_is_as_good_as_absent(method: bytes, expected: str) -> None:
    routes = [
        route("~ ^/tags/", "GET", name="reader"),
        route("~ ^/tags/", "PUT", "DELETE", name="writer"),
        route("/", name="main"),
    ]
    match = RouteTable(routes).match(b"/tags/x", method)
    assert match is not None
    assert routes[match.index].name == expected


def test_the_method_counts_for_exact_and_final_locations_too() -> None:
    routes = [route("= /a", "PUT"), route("^~ /a", "POST"), route("/"), route("/a")]
    assert [chosen(routes, b"/a", m) for m in (b"PUT", b"POST", b"GET")] == ["= /a", "^~ /a", "/a"]


def test_of_two_equal_locations_the_first_is_chosen() -> None:
    for location in ("/a", "= /a", "~ a"):
        match = RouteTable([route("/"), route(location), route(location)]).match(b"/a", b"GET")
        assert match == RouteMatch(1)


def test_named_groups_become_captures() -> None:
    table = RouteTable([route(r"~ ^/rooms/(?<room>[^/]+)(/(?<rest>.*))?$"), route("/")])
    for _ in range(2):
        match = table.match(b"/rooms/!a:b/state", b"GET")
        assert match == RouteMatch(0, {"room": b"!a:b", "rest": b"state"})
    assert table.match(b"/rooms/x", b"GET") == RouteMatch(0, {"room": b"x", "rest": b""})
    other = table.match(b"/x", b"GET")
    assert other is not None
    assert not other.captures


@pytest.mark.parametrize(
    ("location", "complaint"),
    [
        ("", "says no path and no regex"),
        ("~ ", "says no path and no regex"),
        ("=", "says no path and no regex"),
        ("~ (", "the regex cannot be read"),
        ("~ (?<a>x)(?<a>y)", "the regex cannot be read"),
        ("_matrix", "does not start with a slash"),
        ("@named", "does not start with a slash"),
        ("= matrix", "does not start with a slash"),
    ],
)
def test_a_location_that_cannot_be_read_is_an_error(location: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        RouteTable([route(location)])


PREFIXES = st.sampled_from(
    ["/", "/_matrix", "/_matrix/", "/_matrix/client/", "/_matrix/client/v3/sync", "/_synapse/admin"]
)
SEGMENTS = st.sampled_from(
    [
        r"_matrix",
        r"client",
        r"v3",
        r"(r0|v3)",
        r"(api/v1|r0|v3|unstable)",
        r"rooms",
        r"[^/]+",
        r".*",
        r"sync",
        r"(join|leave)",
        r"send",
        r"[\s\S]+",
        r"(![^/]*)",
        r"Media",
        r"federation(/v1)?",
        r"v\d",
    ]
)
REGEXES = (
    st.tuples(
        st.sampled_from(["^/", "/", "", "^(/a|/_matrix/)", "^/_matrix/client/"]),
        st.lists(SEGMENTS, max_size=5).map("/".join),
        st.sampled_from(["", "$", "/", "/$", "|media$"]),
    )
    .map("".join)
    .filter(bool)
)
LOCATIONS = st.one_of(
    PREFIXES,
    PREFIXES.map("= {}".format),
    PREFIXES.map("^~ {}".format),
    REGEXES.map("~ {}".format),
    REGEXES.map("~* {}".format),
)
ROUTES = st.builds(
    lambda location, methods: route(location, *methods),
    LOCATIONS,
    st.sampled_from([(), (), (), ("GET",), ("PUT", "DELETE"), ("POST", "HEAD")]),
)
TABLES = st.one_of(st.lists(ROUTES, max_size=8), st.lists(ROUTES, min_size=17, max_size=30))
PATHS = st.lists(
    st.sampled_from(
        [
            "_matrix",
            "client",
            "v3",
            "r0",
            "api",
            "v1",
            "rooms",
            "!a:b",
            "sync",
            "join",
            "leave",
            "send",
            "media",
            "MEDIA",
            "federation",
            "_synapse",
            "admin",
            "x",
        ]
    ),
    max_size=7,
).map(lambda segments: ("/" + "/".join(segments)).encode())
ENDS = st.sampled_from([b"", b"", b"/", b"\n", b"x"])


@given(TABLES, st.lists(st.tuples(PATHS, ENDS, st.sampled_from(METHODS)), max_size=12))
def test_the_index_chooses_as_trying_every_location_does(
    routes: list[Route], requests: list[tuple[bytes, bytes, bytes]]
) -> None:
    table = RouteTable(routes)
    for path, end, method in requests:
        match = table.match(path + end, method)
        expected = nginx_choice(routes, path + end, method)
        assert (None if match is None else match.index) == expected


TABLES_BY_NAME = {
    "seed": seed_routes(),
    "synapse": [*synapse_routes(), route("/")],
    **shipped_routes(),
}


@pytest.mark.parametrize("name", TABLES_BY_NAME)
def test_each_path_of_the_matrix_specification_is_routed_as_by_trying_every_location(
    name: str,
) -> None:
    routes = TABLES_BY_NAME[name]
    table = RouteTable(routes)
    for _, plain, coded in matrix_paths():
        for path in (plain, coded, plain + b"/", plain + b"\n", plain.upper()):
            for method in METHODS:
                match = table.match(path, method)
                expected = nginx_choice(routes, path, method)
                assert (None if match is None else match.index) == expected, (path, method)


@given(PATHS, st.sampled_from(METHODS))
@example(b"/_matrix/client/v3/rooms/!a:b/send/m.room.message/1", b"PUT")
def test_a_table_of_hundreds_of_regexes_chooses_as_trying_every_location_does(
    path: bytes, method: bytes
) -> None:
    routes = TABLES_BY_NAME["synapse"]
    match = BIG_TABLE.match(path, method)
    assert match is not None
    assert match.index == nginx_choice(routes, path, method)


BIG_TABLE = RouteTable(TABLES_BY_NAME["synapse"])


def test_few_regexes_are_candidates_however_many_there_are() -> None:
    copies = [
        route(entry.location.replace("^/", f"^/_copy{number}/"))
        for number in range(4)
        for entry in synapse_routes()
    ]
    lane = RouteTable([*synapse_routes(), *copies])._other
    alone = RouteTable([*synapse_routes(), *copies[:1]])._other
    for _, path, _ in matrix_paths():
        many, few = (list(each._regexes.candidates(path)) for each in (lane, alone))
        anywhere = [n for n, anchored in enumerate(lane._regexes.anchored) if not anchored]
        assert len(set(many) - set(anywhere)) <= len(few) <= 40


def reasons(routes: list[Route], path: bytes, method: bytes = b"GET") -> list[tuple[str, str]]:
    return [(t.location, t.reason) for t in RouteTable(routes).explain(path, method)]


def test_an_explanation_follows_the_order_of_evaluation() -> None:
    routes = [
        route("~ ^/_matrix/client/(r0|v3)/sync$"),
        route("~ ^/_matrix/client/(r0|v3)/login$"),
        route("/_matrix"),
        route("/_synapse"),
        route("/_matrix/client/", "PUT", "DELETE"),
        route("= /health"),
        route("~ ^/_matrix"),
        route("~ media$"),
    ]
    assert reasons(routes, b"/_matrix/client/v3/login") == [
        ("location = /health", "the path is not /health"),
        ("location /_matrix/client/", "methods are DELETE, PUT"),
        ("location /_synapse", "prefix /_synapse does not start the path"),
        ("location /_matrix", "matched, but location ~ ^/_matrix/client/(r0|v3)/login$ won"),
        (
            "location ~ ^/_matrix/client/(r0|v3)/sync$",
            "regex does not match; it got as far as /_matrix/client/v3/",
        ),
        ("location ~ ^/_matrix/client/(r0|v3)/login$", "chosen"),
        (
            "location ~ ^/_matrix",
            "not tried: location ~ ^/_matrix/client/(r0|v3)/login$ had won",
        ),
        ("location ~ media$", "not tried: location ~ ^/_matrix/client/(r0|v3)/login$ had won"),
    ]


@pytest.mark.parametrize(
    ("locations", "path", "reason"),
    [
        (["^~ /a", "~ a"], b"/a", "not tried: location ^~ /a had won"),
        (["= /a", "~ a"], b"/a", "not tried: location = /a had won"),
        (["= /a", "/a"], b"/a", "matched, but location = /a won"),
        (["/a/b", "/a"], b"/a/b", "matched, but location /a/b won"),
        (["/", "~ media$"], b"/a", "regex matches nowhere in the path"),
        (["/", "~ ^/rooms/[^/]+/join$"], b"/rooms/x/jump", "got as far as /rooms/x/j"),
        (["/", "~ ^/rooms/[^/]+/join$"], b"/rooms", "got as far as /rooms"),
        (["/", "~ ^/(aa|ab|b)/c"], b"/ax", "got as far as /a"),
        (["/", "~* ^/AB"], b"/ax", "got as far as /a"),
        (["/", "~ ^x"], b"/a", "got as far as the start"),
    ],
)
def test_a_losing_route_says_why(locations: list[str], path: bytes, reason: str) -> None:
    *_, (_, last) = reasons([route(location) for location in locations], path)
    assert last.endswith(reason)


def test_without_a_match_every_route_says_why() -> None:
    found = RouteTable([route("/a"), route("~ ^/b")]).explain(b"/c", b"GET")
    assert [(t.matched, t.chosen, t.reason) for t in found] == [
        (False, False, "prefix /a does not start the path"),
        (False, False, "regex does not match; it got as far as /"),
    ]


@given(TABLES, PATHS, st.sampled_from(METHODS))
def test_an_explanation_agrees_with_the_choice(
    routes: list[Route], path: bytes, method: bytes
) -> None:
    trials = RouteTable(routes).explain(path, method)
    assert sorted(trial.index for trial in trials) == list(range(len(routes)))
    assert [t.index for t in trials if t.chosen] == [
        index for index in [nginx_choice(routes, path, method)] if index is not None
    ]
    for trial in trials:
        assert trial.matched == (nginx_choice([routes[trial.index]], path, method) is not None)
        assert re.fullmatch(
            "chosen|methods are .+|matched, but .+ won|not tried: .+ had won|prefix .+|"
            "the path is not .+|regex .+",
            trial.reason,
        )
