"""An allowlist cannot be walked around by writing the path differently."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.core.guard import Guard
from synproxy.core.routes import RouteTable
from synproxy.core.target import normalise_path, views
from synproxy.errors import DownstreamError
from tests.support.route_tables import SEED_MEDIA_ADMIN, matrix_paths, route, seed_routes

ADMIN = 0
ROUTES = [
    route("~ ^/_synapse/admin/"),
    route("/_matrix/"),
    route("/_synapse/client/"),
    route("/"),
]
TABLE = RouteTable(ROUTES)
GUARD = Guard(TABLE, {ADMIN})


def judged(raw_path: bytes, method: bytes = b"GET") -> set[int]:
    """The routes whose allowlists have a say."""
    match = TABLE.match(normalise_path(raw_path), method)
    assert match is not None
    return {match.index, *GUARD.guards(raw_path, method)}


@pytest.mark.parametrize(
    "raw_path",
    [
        b"/_synapse/admin/v1/x",
        b"/_synapse/%61dmin/v1/x",
        b"/_synapse%2Fadmin/v1/users",
        b"/_synapse%2fadmin%2fv1%2fusers",
        b"//_synapse/admin/v1/users",
        b"//_synapse/admin/..",
        b"/_synapse/admin/..",
        b"/_synapse/admin/../../_matrix/client",
        b"/_synapse/admin/%2e%2e/client/x",
        b"/_synapse/admin/..%2f..%2f_matrix/x",
        b"/_synapse%2Fadmin%2F..%2Fx",
        b"/_synapse//admin/../x",
        b"/_matrix/../_synapse/admin/x",
        b"/x/%2e%2e/_synapse/admin/x",
        b"/x/..//_synapse/./admin/x",
        b"/_synapse/./admin/x",
        b"/.//_synapse/admin/x",
    ],
)
def test_every_way_of_writing_a_guarded_path_is_guarded(raw_path: bytes) -> None:
    for _ in range(2):
        assert ADMIN in judged(raw_path)


@pytest.mark.parametrize(
    "raw_path",
    [
        b"/_matrix/client/v3/rooms/%21abc%3Aexample.org/send/m.room.message/1",
        b"/_matrix/client/v3/rooms/!abc:example.org/event/%24a%2Fb%2Fc",
        b"/_matrix/client/v3/directory/room/%23_synapse%2Fadmin%2F%3Aexample.org",
        b"/_matrix/client/v3/rooms/%21x/state/a/%2F_synapse%2Fadmin%2Fx",
        b"/_matrix/client/v3/rooms/%21x/state/a/..%2Fb",
        b"/_matrix/client/v1/media/preview_url//%2e",
        b"/_matrix/media/v3/download/example.org/abc/_synapse%2Fadmin%2Fv1.png",
        b"/_synapse/%2561dmin/v1/x",
        b"/_synapse/client/%61dmin",
        b"/.well-known/matrix/server",
    ],
)
def test_an_ordinary_encoded_path_is_not_guarded(raw_path: bytes) -> None:
    assert GUARD.guards(raw_path, b"GET") == ()


def test_no_specification_path_meets_a_foreign_allowlist() -> None:
    table = RouteTable([*seed_routes(), route("~ ^/_synapse/admin/"), route("/")])
    guard = Guard(table, {SEED_MEDIA_ADMIN, len(seed_routes())})
    for method, plain, coded in matrix_paths():
        assert guard.guards(plain, method) == ()
        assert guard.guards(coded, method) == ()


def test_a_route_that_is_matched_anyway_is_not_named_again() -> None:
    assert GUARD.guards(b"/_synapse/%61dmin/v1/x", b"GET") == ()


def test_two_guarded_routes_must_both_permit() -> None:
    table = RouteTable([route("/a"), route("/b"), route("/")])
    assert Guard(table, {0, 1}).guards(b"/a/../b", b"GET") == (0,)


def test_a_guarded_route_of_another_method_has_no_say() -> None:
    table = RouteTable([route("/a", "POST"), route("/")])
    guard = Guard(table, {0})
    assert guard.guards(b"/a/../b", b"POST") == (0,)
    assert guard.guards(b"/a/../b", b"GET") == ()


def test_a_guarded_route_that_another_one_hides_has_no_say() -> None:
    table = RouteTable([route("~ ^/a/pub"), route("~ ^/a/"), route("/")])
    assert Guard(table, {1}).guards(b"/a/pub/../../b", b"GET") == ()


def test_without_guarded_routes_nothing_is_judged() -> None:
    assert Guard(TABLE, ()).guards(b"/_synapse/admin/../%zz", b"GET") == ()


def test_a_path_that_is_refused_is_refused_here_too() -> None:
    with pytest.raises(DownstreamError):
        GUARD.guards(b"/%zz", b"GET")


RAW_PATHS = st.lists(
    st.sampled_from(
        [
            "/",
            "//",
            "/_synapse",
            "/admin",
            "admin",
            "%61dmin",
            "/x/..",
            "/../",
            "/.",
            "%2F",
            "%2f..",
            "/_matrix",
            "_synapse",
            "a",
            "%",
        ]
    ),
    max_size=9,
).map(lambda parts: ("/" + "".join(parts)).encode())


@given(RAW_PATHS, st.sampled_from([b"GET", b"PUT"]))
def test_a_guard_equals_asking_the_table_about_every_view(raw_path: bytes, method: bytes) -> None:
    try:
        normalised, *others = views(raw_path)
    except DownstreamError:
        return
    routed = TABLE.match(normalised, method)
    found = {match.index for view in others if (match := TABLE.match(view, method)) is not None}
    expected = (found & {ADMIN}) - ({routed.index} if routed is not None else set())
    assert GUARD.guards(raw_path, method) == tuple(sorted(expected))
