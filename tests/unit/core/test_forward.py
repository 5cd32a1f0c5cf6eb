"""The header block that a server receives."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from synproxy.config.model import Map, ProxySettings
from synproxy.core.forward import HeadPlan, with_length
from synproxy.core.head import HeaderBlock
from synproxy.core.variables import Variables
from synproxy.errors import DownstreamError
from tests.unit.core.test_variables import Request

MAPS = {
    "connection_upgrade": Map(source="$http_upgrade", values={"": ""}, default="upgrade"),
    "always_close": Map(source="$http_upgrade", values={"": "close"}, default="upgrade"),
}
HOST = (b"Host", b"example.org")

Fields = list[tuple[bytes, bytes]]


def plan(set_header: Mapping[str, str]) -> HeadPlan:
    return HeadPlan(set_header, Variables(MAPS))


def render(
    set_header: Mapping[str, str], *fields: tuple[bytes, bytes], path: bytes = b"/sync"
) -> tuple[list[bytes], bool]:
    """The lines without their ends, and whether the server shall close."""
    block = HeaderBlock([HOST, *fields], 100)
    view = Request(path=path, headers={name.lower(): value for name, value in fields})
    before, after, close = plan(set_header).render(view, block)
    head = with_length(before, after, block.content_length)
    assert head.endswith(b"\r\n\r\n") or head == b"\r\n"
    return head.split(b"\r\n")[:-2], close


@pytest.mark.parametrize(
    ("set_header", "fields", "lines"),
    [
        ({}, [], [b"Host: example.org"]),
        ({}, [(b"X-B", b"1"), (b"x-A", b"")], [b"Host: example.org", b"X-B: 1", b"x-A: "]),
        ({"Host": "$host"}, [], [b"Host: example.org"]),
        ({"Host": "other"}, [(b"X", b"1")], [b"Host: other", b"X: 1"]),
        ({"host": ""}, [(b"X", b"1")], [b"X: 1"]),
        # What is set comes first, in the order of the configuration.
        (
            {"X-B": "b", "X-A": "a"},
            [(b"X-C", b"c")],
            [b"X-B: b", b"X-A: a", b"Host: example.org", b"X-C: c"],
        ),
        # Every field of that name is replaced, whatever its case.
        (
            {"X-Forwarded-For": "$remote_addr"},
            [(b"x-forwarded-for", b"6.6.6.6"), (b"X-FORWARDED-FOR", b"7.7.7.7")],
            [b"X-Forwarded-For: 192.0.2.1", b"Host: example.org"],
        ),
        ({"Accept-Encoding": ""}, [(b"accept-encoding", b"br")], [b"Host: example.org"]),
        # The framing is ours, between what is set and what came.
        (
            {"X-A": "a"},
            [(b"Content-Length", b"007"), (b"X-B", b"b")],
            [b"X-A: a", b"Content-Length: 7", b"Host: example.org", b"X-B: b"],
        ),
        (
            {},
            [(b"Transfer-Encoding", b"CHUNKED")],
            [b"Transfer-Encoding: chunked", b"Host: example.org"],
        ),
        ({}, [(b"Content-Length", b"0")], [b"Content-Length: 0", b"Host: example.org"]),
        ({"X-Tab": "a\tb"}, [], [b"X-Tab: a\tb", b"Host: example.org"]),
    ],
)
def test_the_block_is_written_anew(
    set_header: Mapping[str, str], fields: Fields, lines: list[bytes]
) -> None:
    assert render(set_header, *fields)[0] == lines


def test_the_server_gets_one_address_and_it_is_ours() -> None:
    """Promise 6 of the design: "Synapse sees exactly one X-Forwarded-For value"."""
    claims = [(b"X-Forwarded-For", b"6.6.6.6"), (b"x-forwarded-for", b"7.7.7.7")]
    hidden = [(b"Connection", b"X-Forwarded-For"), (b"X_Forwarded_For", b"8.8.8.8")]
    lines, _ = render(ProxySettings().set_header, *claims, *hidden)
    found = [
        line for line in lines if b"forwarded" in line.lower() and b"proto" not in line.lower()
    ]
    assert found == [b"X-Forwarded-For: 192.0.2.1"]


@pytest.mark.parametrize(
    ("connection", "fields", "close"),
    [
        ("", [], False),
        ("close", [], True),
        ("Close", [], True),
        ("keep-alive", [], False),
        ("upgrade, close", [], True),
        ("$connection_upgrade", [], False),
        ("$connection_upgrade", [(b"Upgrade", b"websocket")], False),
        ("$always_close", [], True),
        ("$always_close", [(b"Upgrade", b"websocket")], False),
    ],
)
def test_whether_the_server_closes_is_what_it_is_told(
    connection: str, fields: Fields, close: bool
) -> None:
    assert render({"Connection": connection}, *fields)[1] is close


def test_a_clients_own_connection_field_is_not_passed_on() -> None:
    lines, close = render({}, (b"Connection", b"close"))
    assert (lines, close) == ([b"Host: example.org"], False)


@pytest.mark.parametrize("path", [b"/\r\nX: y", b"/\n", b"/\x00", b"/\x7f", b"/\x1b[31m"])
def test_a_decoded_value_cannot_break_out_of_its_line(path: bytes) -> None:
    with pytest.raises(DownstreamError) as caught:
        render({"X-Path": "$uri"}, path=path)
    assert caught.value.status == 400
    assert "X-Path" in caught.value.reason


@pytest.mark.parametrize(
    ("set_header", "cacheable"),
    [
        ({}, True),
        ({"A": "b", "B": "$remote_addr", "C": "$http_x", "D": "$connection_upgrade"}, True),
        ({"Host": "$host"}, True),
        ({"A": "$uri"}, False),
        ({"A": "x$request_id"}, False),
        ({"A": "b", "B": "$arg_since"}, False),
    ],
)
def test_what_depends_on_the_request_line_is_not_remembered(
    set_header: Mapping[str, str], cacheable: bool
) -> None:
    assert plan(set_header).cacheable is cacheable


@pytest.mark.parametrize(
    ("set_header", "lines"),
    [
        ({"X": "1", "Host": "$http_host"}, [b"X: 1", b"Host: "]),
        ({"X": "1"}, [b"X: 1", b"Host: "]),
        ({"X": "1", "Host": ""}, [b"X: 1"]),  # the administrator's will
    ],
)
def test_a_request_without_a_host_says_so(
    set_header: Mapping[str, str], lines: list[bytes]
) -> None:
    """RFC 9112 section 3.2: a server must refuse HTTP/1.1 without Host, and we speak HTTP/1.1."""
    head, _, _ = plan(set_header).render(Request(), HeaderBlock([], 100))
    assert head.split(b"\r\n")[:-2] == lines
