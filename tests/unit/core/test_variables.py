"""Variables and templates are worth what nginx gives them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.config.model import Map
from synproxy.config.variable_names import BUILTIN_VARIABLES
from synproxy.core.variables import Scope, Variables, cookie_value


@dataclass
class Request:
    """A request as the data path shows it to templates."""

    method: bytes = b"GET"
    target: bytes = b"/s%79nc?since=s1"
    path: bytes = b"/sync"
    query: bytes = b"since=s1"
    version: bytes = b"HTTP/1.1"
    scheme: bytes = b"https"
    remote_addr: bytes = b"192.0.2.1"
    remote_port: bytes = b"40000"
    socket_peer: tuple[bytes, bytes] = (b"192.0.2.3", b"50000")
    proxy_protocol: tuple[bytes, bytes, bytes, bytes] = (b"192.0.2.4", b"1", b"192.0.2.5", b"2")
    server_addr: bytes = b"192.0.2.9"
    server_port: bytes = b"8008"
    ssl_protocol: bytes = b"TLSv1.3"
    ssl_cipher: bytes = b"TLS_AES_256_GCM_SHA384"
    ssl_server_name: bytes = b"example.org"
    host: bytes = b"example.org"
    request_id: bytes = b"0123456789abcdef"
    captures: Mapping[str, bytes] = field(default_factory=dict)
    headers: Mapping[bytes, bytes] = field(default_factory=dict)

    def header(self, name: bytes) -> bytes:
        return self.headers.get(name, b"")


def value(text: str, request: Request) -> bytes:
    return Variables({}).template(text).render(request)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$args", b"since=s1"),
        ("$query_string", b"since=s1"),
        ("$is_args", b"?"),
        ("$uri", b"/sync"),
        ("$document_uri", b"/sync"),
        ("$request_uri", b"/s%79nc?since=s1"),
        ("$request", b"GET /s%79nc?since=s1 HTTP/1.1"),
        ("$request_method", b"GET"),
        ("$request_id", b"0123456789abcdef"),
        ("$server_protocol", b"HTTP/1.1"),
        ("$scheme", b"https"),
        ("$remote_addr", b"192.0.2.1"),
        ("$remote_port", b"40000"),
        ("$server_addr", b"192.0.2.9"),
        ("$server_port", b"8008"),
        ("$host", b"example.org"),
        ("$hostname", os.uname().nodename.lower().encode()),
        ("$proxy_add_x_forwarded_for", b"192.0.2.1"),
        ("$scheme://$host$request_uri", b"https://example.org/s%79nc?since=s1"),
        ("${host}s", b"example.orgs"),
        ("$HOST", b"example.org"),
        ("a${host}b$scheme", b"aexample.orgbhttps"),
        ("none", b"none"),
        ("ü", "ü".encode()),
        ("", b""),
    ],
)
def test_a_template_is_filled_in(text: str, expected: bytes) -> None:
    assert value(text, Request()) == expected


def test_every_builtin_name_has_a_value() -> None:
    for name in BUILTIN_VARIABLES:
        headers = {b"content-length": b"2", b"content-type": b"application/json"}
        request = Request(target=b"/_matrix/client/v3/rooms/!r/state", headers=headers)
        assert value(f"${name}", request) != b""


def test_is_args_is_empty_without_a_query() -> None:
    assert value("$uri$is_args$args", Request(query=b"")) == b"/sync"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"since=s1", b"s1"),
        (b"a=b&since=s1&c=d", b"s1"),
        (b"since=s1&since=s2", b"s1"),
        (b"SINCE=s1&since=s2", b"s1"),
        (b"since=s%201+x", b"s%201+x"),
        (b"since=", b""),
        (b"since=&since=s2", b""),
        (b"since", b""),
        (b"since&since=s2", b"s2"),
        (b"xsince=s1", b""),
        (b"xsince=s1&since=s2", b"s2"),
        (b"since=since=s1", b"since=s1"),
        (b"a=since=s1", b""),
        (b"a=b;since=s1", b""),
        (b"&&since=s1", b"s1"),
        (b"since==s1", b"=s1"),
        (b"since[]=s1", b""),
        (b"?since=s1", b""),
        (b"", b""),
    ],
)
def test_an_argument_is_the_first_one_raw(query: bytes, expected: bytes) -> None:
    assert value("$arg_since", Request(query=query)) == expected
    assert value("$ARG_Since", Request(query=query)) == expected


_QUERIES = st.lists(
    st.sampled_from([b"k", b"K", b"kk", b"=", b"&", b"k=", b"&k=", b"1", b"2", b"%6b", b"?"])
).map(b"".join)


@given(_QUERIES)
def test_an_argument_is_what_the_plain_reading_gives(query: bytes) -> None:
    found = re.search(rb"(?:\A|&)k=([^&]*)", query, re.IGNORECASE)
    assert value("$arg_k", Request(query=query)) == (found[1] if found else b"")


def test_a_header_variable_turns_underscores_into_dashes() -> None:
    request = Request(headers={b"x-matrix-origin": b"a", b"upgrade": b"websocket"})
    assert value("$http_x_matrix_origin,$http_upgrade", request) == b"a,websocket"
    assert value("$http_none", request) == b""


def test_x_forwarded_for_is_appended_to() -> None:
    request = Request(headers={b"x-forwarded-for": b"198.51.100.7"})
    assert value("$proxy_add_x_forwarded_for", request) == b"198.51.100.7, 192.0.2.1"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"sid=1", b"1"),
        (b"a=b; sid=1; c=d", b"1"),
        (b"a=b;sid=1", b"1"),
        (b"a=b,sid=1", b"1"),
        (b"SID=1; sid=2", b"1"),
        (b"sid = 1; b=c", b"1"),
        (b"sid=1,2; b=c", b"1,2"),
        (b'sid="1"', b'"1"'),
        (b"sid=1 ; b=c", b"1 "),
        (b"sidx=1; sid=2", b"2"),
        (b"xsid=1", b""),
        (b"sid", b""),
        (b"sid; a=b; sid=2", b"2"),
        (b"sid; sid=2", b""),  # the second pair is swallowed, as in nginx
        (b"sid=", b""),
        (b"a=sid=1", b""),
        (b"", b""),
    ],
)
def test_a_cookie_is_read_as_nginx_reads_it(header: bytes, expected: bytes) -> None:
    assert cookie_value(header, b"sid") == expected
    assert value("$cookie_Sid", Request(headers={b"cookie": header})) == expected


def test_the_groups_of_a_route_are_variables_once_they_are_announced() -> None:
    variables = Variables({}, captures=["roomId"])
    request = Request(captures={"roomId": b"!a:b"})
    template = variables.template("$roomId/$roomid")
    assert template.render(request) == b"!a:b/!a:b"
    assert template.scope is Scope.REQUEST
    assert template.render(Request()) == b"/"


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("", Scope.CONSTANT),
        ("upstream", Scope.CONSTANT),
        ("$hostname", Scope.CONSTANT),
        ("$server_addr", Scope.CONNECTION),
        ("x-$server_addr-$server_port", Scope.CONNECTION),
        ("$scheme-$remote_addr", Scope.HEADERS),  # proxies before us say
        ("$host", Scope.HEADERS),
        ("$http_upgrade", Scope.HEADERS),
        ("$cookie_a$scheme", Scope.HEADERS),
        ("$proxy_add_x_forwarded_for", Scope.HEADERS),
        ("$arg_since", Scope.REQUEST),
        ("$host$uri", Scope.REQUEST),
        ("$request_id", Scope.REQUEST),
        ("$synapse_user", Scope.REQUEST),
    ],
)
def test_a_template_knows_the_narrowest_thing_it_depends_on(text: str, scope: Scope) -> None:
    template = Variables({}).template(text)
    assert template.scope is scope
    assert template.text == text


def test_a_template_without_variables_has_its_value_at_once() -> None:
    template = Variables({}).template("upgrade")
    assert template.constant == b"upgrade"
    assert template.render(Request()) is template.constant


@pytest.mark.parametrize("text", ["$nothing", "a${nothing}b", "$arg_", "$http_", "$1", "$sent_x"])
def test_an_unknown_variable_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unknown variable \$"):
        Variables({}).template(text)


@pytest.mark.parametrize("text", ["$", "a$", "$-", "${host", "${}"])
def test_a_dollar_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a variable name"):
        Variables({}).template(text)


def test_a_map_may_hide_a_header_variable_but_no_builtin_one() -> None:
    shown = Variables({"http_upgrade": Map(source="x", default="map")})
    assert shown.template("$http_upgrade").render(Request()) == b"map"
    with pytest.raises(ValueError, match=r"\$Host has the name of a builtin"):
        Variables({"Host": Map(source="x")})


def test_two_maps_may_not_differ_in_case_alone() -> None:
    with pytest.raises(ValueError, match="exists twice"):
        Variables({"sync": Map(source="x"), "Sync": Map(source="x")})
