"""The three line formats, byte for byte; expectations were taken from nginx where it has one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from time import tzset

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.core.record import Attempt, ExchangeRecord
from synproxy.core.redact import redact
from synproxy.observe import formats
from synproxy.observe.formats import FORMATS, combined, combined_upstream, json_line

SOCKET_1 = "unix:/run/matrix-synapse/inbound_normal_sync1.sock"
SOCKET_2 = "unix:/run/matrix-synapse/inbound_normal_sync2.sock"

SYNC = ExchangeRecord(
    started=1763956862.25,
    remote_addr=b"203.0.113.7",
    method=b"GET",
    target=b"/_matrix/client/v3/sync?since=s1",
    version=b"HTTP/1.1",
    status=200,
    bytes_sent=512,
    bytes_received=0,
    user_agent=b"Element/1.11",
    host=b"matrix.example",
    scheme=b"https",
    request_id=b"3f2a",
    route="sync",
    pool="normal_sync",
    server=SOCKET_1,
    attempts=[Attempt(SOCKET_1, 200, 0.0, 0.12, 0.1226)],
    duration=0.1236,
)


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    tzset()
    formats.time_local.cache_clear()
    yield
    monkeypatch.undo()
    tzset()
    formats.time_local.cache_clear()


def test_combined_is_nginx_combined() -> None:
    assert combined(SYNC) == (
        b"203.0.113.7 - - [24/Nov/2025:04:01:02 +0000]"
        b' "GET /_matrix/client/v3/sync?since=s1 HTTP/1.1" 200 512 "-" "Element/1.11"\n'
    )


@pytest.mark.parametrize(
    ("method", "target", "version", "logged"),
    [
        (b"GET", b'/a"b\\c?\xc3\xa9\x7f', b"HTTP/1.1", rb"GET /a\x22b\x5Cc?\xC3\xA9\x7F HTTP/1.1"),
        (b"", b"\x16\x03\x01\x02", b"", rb"\x16\x03\x01\x02"),
        (b"GET", b"/foo", b"", b"GET /foo"),
        (b"", b"", b"", b"-"),
        (b"", b"GET /?access_token=canary HTTP/9.1", b"", b"GET /?access_token=<redacted>"),
    ],
)  # fmt: skip
def test_the_request_line_is_written_as_nginx_writes_it(
    method: bytes, target: bytes, version: bytes, logged: bytes
) -> None:
    line = combined(replace(SYNC, method=method, target=target, version=version))
    assert line.split(b'"')[1] == logged


@pytest.mark.parametrize(
    ("zone", "written"),
    [
        ("Europe/Amsterdam", b"[24/Nov/2025:05:01:02 +0100]"),
        ("America/St_Johns", b"[24/Nov/2025:00:31:02 -0330]"),
        ("Asia/Kathmandu", b"[24/Nov/2025:09:46:02 +0545]"),
    ],
)
def test_the_local_time_names_its_offset(
    zone: str, written: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    tzset()
    assert written in combined(SYNC)


def test_the_time_is_that_of_the_end_as_in_nginx() -> None:
    assert b"[24/Nov/2025:04:01:32 +0000]" in combined(replace(SYNC, duration=30.0))


def test_combined_upstream_adds_route_server_and_times() -> None:
    assert combined_upstream(SYNC) == combined(SYNC)[:-1] + (
        f' route=sync pool=normal_sync upstream="{SOCKET_1}" ustatus="200" uct="0.000"'
        ' uht="0.120" urt="0.123" rt=0.124 id=3f2a end=ok\n'
    ).encode("ascii")


def test_several_attempts_are_listed_as_in_upstream_addr() -> None:
    attempts = [Attempt(SOCKET_1, 0), Attempt(SOCKET_2, 200, 0.001, 0.5, 0.502)]
    line = combined_upstream(replace(SYNC, attempts=attempts))
    assert (
        f' upstream="{SOCKET_1}, {SOCKET_2}" ustatus="-, 200" uct="-, 0.001" uht="-, 0.500"'
        ' urt="-, 0.502" '
    ).encode("ascii") in line


def test_an_exchange_that_reached_no_server_has_dashes() -> None:
    line = combined_upstream(
        ExchangeRecord(started=SYNC.started, remote_addr=b"unix:", status=400, end_reason="local")
    )
    assert line == (
        b'unix: - - [24/Nov/2025:04:01:02 +0000] "-" 400 0 "-" "-" route=- pool=-'
        b' upstream="-" ustatus="-" uct="-" uht="-" urt="-" rt=0.000 id=- end=local\n'
    )


def test_json_has_one_object_with_all_that_is_known() -> None:
    assert json.loads(json_line(SYNC)) == {
        "time": "2025-11-24T04:01:02.250Z",
        "remote_addr": "203.0.113.7",
        "scheme": "https",
        "host": "matrix.example",
        "method": "GET",
        "target": "/_matrix/client/v3/sync?since=s1",
        "version": "HTTP/1.1",
        "status": 200,
        "bytes_sent": 512,
        "bytes_received": 0,
        "referer": "",
        "user_agent": "Element/1.11",
        "request_id": "3f2a",
        "route": "sync",
        "pool": "normal_sync",
        "server": SOCKET_1,
        "attempts": [
            {
                "server": SOCKET_1,
                "status": 200,
                "connect_time": 0.0,
                "header_time": 0.12,
                "response_time": 0.1226,
            }
        ],
        "duration": 0.1236,
        "end_reason": "ok",
    }


def test_json_times_that_were_not_reached_are_null() -> None:
    [attempt] = json.loads(json_line(replace(SYNC, attempts=[Attempt(SOCKET_1)])))["attempts"]
    assert attempt == {
        "server": SOCKET_1,
        "status": 0,
        "connect_time": None,
        "header_time": None,
        "response_time": None,
    }


any_bytes = st.binary(max_size=40) | st.sampled_from([b"", b"/x?y=z", b"\xc3\xa9", b'"', b"\n"])
TIMES = st.floats(-1, 4000)
records = st.builds(
    ExchangeRecord,
    started=st.floats(0, 4e9),
    status=st.integers(0, 599),
    bytes_sent=st.integers(0, 2**40),
    attempts=st.lists(
        st.builds(Attempt, st.text(), st.integers(0, 599), TIMES, TIMES, TIMES), max_size=3
    ),
    duration=st.floats(0, 4000),
    **{field.name: any_bytes for field in fields(ExchangeRecord) if field.type == "bytes"},
    **{field.name: st.text() for field in fields(ExchangeRecord) if field.type == "str"},
)


@pytest.mark.parametrize("name", FORMATS)
@given(record=records)
def test_whatever_comes_in_one_line_of_valid_text_goes_out(
    name: str, record: ExchangeRecord
) -> None:
    line = {str(key): value for key, value in FORMATS.items()}[name](record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    if name != "json":
        assert line[:-1].decode("ascii").isprintable()
    else:
        assert list(json.loads(line)) == list(json.loads(json_line(SYNC)))


@given(record=records)
def test_the_fast_path_writes_what_escaping_every_field_writes(record: ExchangeRecord) -> None:
    plain = dict.fromkeys(("remote_addr", "referer", "user_agent"), "")
    for name in plain:
        value = redact(getattr(record, name).decode("latin-1"))
        plain[name] = formats.escape(value)
    head, _, tail = combined(record).decode("ascii").partition(" - - [")
    assert head == plain["remote_addr"]
    assert tail.endswith(f'"{plain["referer"]}" "{plain["user_agent"]}"\n')
    assert re.fullmatch(r'[^"]*\] "[^"]*" \d{3} \d+ "[^"]*" "[^"]*"\n', tail)


CANARY = b"syt_YWxpY2U_canary"
SECRETS = [
    b"?access_token=",
    b"?since=s1&access%5ftoken=",
    b"?%61%63cess_%54oken=",
    b"?loginToken=",
    b"?client%5Fsecret=",
    b"?token=",
    b"?redirectUrl=https%3A%2F%2Fapp%2F%3FloginToken%3D",
    b'?"\xff&access_token=',
]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("where", ["target", "referer", "user_agent"])
@pytest.mark.parametrize("secret", SECRETS)
@given(noise=st.binary(max_size=8).map(lambda noise: noise.replace(b"&", b"")))
def test_a_token_never_shows_up_in_any_format(
    name: str, where: str, secret: bytes, noise: bytes
) -> None:
    record = replace(SYNC)
    setattr(record, where, b"/_matrix/x" + secret + noise + CANARY + b"&b=c")
    line = {str(key): value for key, value in FORMATS.items()}[name](record)
    assert CANARY not in line
    assert b"b=c" in line


def test_the_record_has_no_place_for_credentials() -> None:
    names = {field.name for field in fields(ExchangeRecord)}
    assert not {"authorization", "headers", "cookie", "sticky_key"} & names
