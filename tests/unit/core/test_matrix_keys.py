"""Rooms and origins are read as Synapse reads them, for choosing a server."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.config.model import Map
from synproxy.core.matrix_keys import parse_x_matrix
from synproxy.core.variables import Scope, Variables
from tests.unit.core.test_variables import Request

ROOM = Variables({}).template("$room_id")
ORIGIN = Variables({}).template("$x_matrix_origin")
V12 = b"!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"


def room(target: bytes) -> bytes:
    return ROOM.render(Request(target=target))


@pytest.mark.parametrize(
    "before",
    [
        b"/_matrix/client/v3/rooms/",
        b"/_matrix/client/r0/rooms/",
        b"/_matrix/client/api/v1/rooms/",
        b"/_matrix/client/unstable/org.matrix.msc2716/rooms/",
        b"/_matrix/client/unstable/im.nheko.summary/summary/",
        b"/_matrix/client/v1/room_summary/",
        b"/_matrix/client/v3/user/@alice:example.org/rooms/",
        b"/_matrix/client/v3/join/",
        b"/_matrix/client/v3/knock/",
        b"/_matrix/federation/v1/state/",
        b"/_matrix/federation/v1/state_ids/",
        b"/_matrix/federation/v1/backfill/",
        b"/_matrix/federation/v1/get_missing_events/",
        b"/_matrix/federation/v1/event_auth/",
        b"/_matrix/federation/v1/hierarchy/",
        b"/_matrix/federation/v1/timestamp_to_event/",
        b"/_matrix/federation/v1/exchange_third_party_invite/",
        b"/_matrix/federation/v1/make_join/",
        b"/_matrix/federation/v1/make_leave/",
        b"/_matrix/federation/v1/make_knock/",
        b"/_matrix/federation/v2/send_join/",
        b"/_matrix/federation/v2/send_leave/",
        b"/_matrix/federation/v1/send_knock/",
        b"/_matrix/federation/v2/invite/",
        b"/_matrix/federation/unstable/rooms/",
        b"/_matrix/federation/unstable/org.matrix.msc4370/extremities/",
        b"/_synapse/admin/v1/rooms/",
        b"/_synapse/admin/v1/room/",
        b"/_synapse/admin/v1/join/",
        b"/_synapse/admin/v1/purge_history/",
        b"/_synapse/admin/v1/quarantine_media/",
    ],
)
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (b"!abc:example.org", b"!abc:example.org"),
        (b"%21abc%3Aexample.org%3a8448", b"!abc:example.org:8448"),
        (V12, V12),
        (V12.replace(b"!", b"%21"), V12),
        (b"%21a%2Fb%25%ff", b"!a/b%\xff"),
        (b"a+b", b"a+b"),
    ],
)
@pytest.mark.parametrize("after", [b"", b"/", b"/messages?dir=b", b"?a=/rooms/!x/", b"/join/y"])
def test_the_room_of_a_path_is_opaque_and_decoded(
    before: bytes, written: bytes, meant: bytes, after: bytes
) -> None:
    assert room(before + written + after) == meant


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/_matrix/client/v3/sync",
        b"/_matrix/client/v3/sync?room=/rooms/!a:b/",
        b"/_matrix/client/v3/joined_rooms",
        b"/_matrix/client/v3/createRoom",
        b"/_matrix/client/v3/rooms/",
        b"/_matrix/client/v3/rooms//messages",
        b"/_matrix/client/v3/rooms%2F!a:b",
        b"/_matrix/federation/v1/send/1234",
        b"/_matrix/federation/v1/event/$x",
        b"/_matrix/federation/v1/publicRooms",
        b"/_matrix/federation/v1/media/download/state",
        b"/_matrix/federation/v3/state/!a:b",
        b"/rooms/!a:b",
        b"/x/_matrix/client/v3/rooms/!a:b",
        b"",
    ],
)
def test_a_path_without_a_room_has_an_empty_key(target: bytes) -> None:
    assert room(target) == b""


def test_a_map_falls_back_to_another_key_where_there_is_no_room() -> None:
    either = Map(source="$room_id", values={"": "$remote_addr"}, default="$room_id")
    key = Variables({"either": either}).template("$either")
    assert key.render(Request(target=b"/_matrix/client/v3/rooms/!a/send")) == b"!a"
    assert key.render(Request(target=b"/_matrix/client/v3/createRoom")) == b"192.0.2.1"


@pytest.mark.parametrize(
    ("authorization", "origin"),
    [
        (b'X-Matrix origin="a.example",key="ed25519:1",sig="AB+/",destination="b"', b"a.example"),
        (b"X-Matrix origin=a.example,key=ed25519:1,sig=AB+/", b"a.example"),
        (b"X-Matrix  origin=a.example\t,\tkey=k , sig=s", b"a.example"),
        (b"X-Matrix sig=s,key=k,ORIGIN=a.example", b"a.example"),
        (b"X-Matrix origin=x,origin=a.example,key=k,sig=s", b"a.example"),
        (b'X-Matrix origin="a\\.example",key=k,sig=s', b"a.example"),
        (b"X-Matrix origin=a.example:8448,key=k,sig=s", b"a.example:8448"),
        (b"X-Matrix origin=[2001:db8::1]:8448,key=k,sig=s", b"[2001:db8::1]:8448"),
        (b"X-Matrix origin=192.0.2.7,key=k,sig=s", b"192.0.2.7"),
        (b"X-Matrix origin=a.example,key=k", b""),
        (b"X-Matrix origin=a.example,sig=s", b""),
        (b"X-Matrix key=k,sig=s", b""),
        (b"X-Matrix origin=a.example,key=k,sig=s,", b""),
        (b"X-Matrix origin=a.example,key=k,sig=s,nonsense", b""),
        (b"X-Matrix origin=a_b.example,key=k,sig=s", b""),
        (b"X-Matrix origin=a..example,key=k,sig=s", b""),
        (b"X-Matrix origin=a/b,key=k,sig=s", b""),
        (b"X-Matrix origin=,key=k,sig=s", b""),
        (b'X-Matrix origin="",key=k,sig=s', b""),
        (b'X-Matrix origin="a,b.example",key=k,sig=s', b""),
        (b"X-Matrix origin=\xff,key=k,sig=s", b""),
        (b"x-matrix origin=a.example,key=k,sig=s", b""),
        (b"X-Matrix\torigin=a.example,key=k,sig=s", b""),
        (b"X-Matrix", b""),
        (b"Bearer syt_YWxpY2U_x_y", b""),
        (b"", b""),
    ],
)
def test_the_origin_is_the_one_that_synapse_would_verify(
    authorization: bytes, origin: bytes
) -> None:
    request = Request(headers={b"authorization": authorization} if authorization else {})
    assert ORIGIN.render(request) == (origin or b"192.0.2.1")


def test_an_origin_may_be_remembered_with_the_header_block() -> None:
    assert ORIGIN.scope is Scope.HEADERS
    assert ROOM.scope is Scope.REQUEST


def as_synapse(header: str) -> str:
    """The rules of Synapse's parser, put down the plain way."""
    try:
        rest = re.split(r"^X-Matrix +", header, maxsplit=1)[1]
        pairs = [pair.split("=", maxsplit=1) for pair in re.split(r"[ \t]*,[ \t]*", rest)]
        values = {name.lower(): value for name, value in pairs}
        origin = values["origin"]
        if origin.startswith('"'):
            origin = re.sub(r"\\(.)", r"\1", origin[1:-1])
        assert "key" in values
        assert "sig" in values
    except (IndexError, KeyError, ValueError, AssertionError):
        return ""
    host, colon, port = origin.rpartition(":")
    if not colon:
        host, port = origin, "1"
    known = re.fullmatch(r"[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*", host)
    return origin if known and port.isdigit() else ""


PIECES = st.sampled_from(
    ["origin=", "key=", "sig=", "a.example", '"', "\\", ",", ", ", "\t,", "k", "=", ":1", " "]
)


USUAL = st.builds(
    "origin={0},key={1},sig={2}{3}".format,
    *[st.sampled_from(["a.example", '"a.example"', 'a"', '"a', '"a\\.b"', "a,b", "", "a:1"])] * 3,
    st.sampled_from(["", ",destination=b", ',destination="b"', ',destination="b', ",b", ","]),
)


@given(st.lists(PIECES, max_size=14).map("".join) | USUAL)
def test_every_value_is_read_as_the_plain_rules_say(rest: str) -> None:
    header = "X-Matrix " + rest.strip(" \t")
    assert parse_x_matrix(header.encode()).decode() == as_synapse(header)
