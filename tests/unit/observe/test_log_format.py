"""Log formats of one's own: nginx's variables, one line, no secrets; and sampling."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from synproxy.config import model
from synproxy.config.loader import loads
from synproxy.config.variable_names import LOG_VARIABLES
from synproxy.core.record import Attempt, ExchangeRecord
from synproxy.errors import ConfigError
from synproxy.observe.access_log import AccessLog
from synproxy.observe.log_format import VARIABLES, compiled
from tests.unit.observe.test_formats import CANARY, SECRETS, SOCKET_1, SOCKET_2, SYNC, records

ALL = " ".join(f"${name}" for name in sorted(LOG_VARIABLES))
ALL_AS_JSON = "{" + ",".join(f'"{name}":"${name}"' for name in sorted(LOG_VARIABLES)) + "}"
RETRIED = replace(
    SYNC,
    attempts=[Attempt(SOCKET_1), Attempt(SOCKET_2, 200, 0.001, 0.5, 0.6)],
    end_reason="upstream_error",
)


def test_the_configuration_knows_the_variables_that_exist() -> None:
    assert set(VARIABLES) == LOG_VARIABLES


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("$remote_addr - ${remote_user} $status", "203.0.113.7 - - 200"),
        ('"$request" $args', '"GET /_matrix/client/v3/sync?since=s1 HTTP/1.1" since=s1'),
        ("$upstream_addr|$upstream_status", f"{SOCKET_1}, {SOCKET_2}|-, 200"),
        ("$upstream_connect_time $upstream_response_time", "-, 0.001 -, 0.600"),
        ("$route/$pool/$end_reason", "sync/normal_sync/upstream_error"),
        ("$msec $request_time", "1763956862.374 0.124"),
    ],
)
def test_a_line_is_what_nginx_would_write(text: str, line: str) -> None:
    assert compiled(text, "default")(RETRIED) == line.encode() + b"\n"


def test_values_are_escaped_and_the_format_is_not() -> None:
    record = replace(SYNC, user_agent=b'a "b" \xff\n')
    assert compiled('"$http_user_agent"', "default")(record) == b'"a \\x22b\\x22 \\xFF\\x0A"\n'
    assert compiled('"$http_user_agent"', "json")(record) == b'"a \\"b\\" \\\\xff\\n"\n'
    assert compiled("$http_referer.", "default")(SYNC) == b"-.\n"
    assert compiled("$http_referer.", "json")(SYNC) == b".\n"


@given(record=records)
def test_whatever_comes_in_one_line_goes_out(record: ExchangeRecord) -> None:
    plain = compiled(ALL, "default")(record)
    assert (plain[-1:], plain.count(b"\n"), plain[:-1].decode("ascii").isprintable()) == (
        b"\n",
        1,
        True,
    )
    assert set(json.loads(compiled(ALL_AS_JSON, "json")(record))) == LOG_VARIABLES


@pytest.mark.parametrize("where", ["target", "referer", "user_agent"])
@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("escaping", ["default", "json"])
def test_no_variable_shows_a_token(where: str, secret: bytes, escaping: str) -> None:
    record = replace(SYNC)
    setattr(record, where, b"/_matrix/x" + secret + CANARY + b"&b=c")
    assert CANARY not in compiled(ALL, escaping)(record)


@pytest.mark.parametrize(
    ("access_log", "told"),
    [
        ("{format: combind}", "expected combined, combined_upstream, json"),
        ("{format: $http_cookie}", "there is no variable $http_cookie in a log format"),
        ("{format: 'a $ b'}", 'expected a variable name after "$"'),
        ('{format: "$host\\n$host"}', "holds a control character"),
        ("{sample: 0}", "not less than 1"),
    ],
)
def test_a_format_with_a_mistake_is_refused(access_log: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(f"listeners: [8008]\naccess_log: {access_log}\n", "file.yaml")
    assert told in str(caught.value)
    assert "file.yaml:2:" in str(caught.value)


def logged(path: Path, sample: int, records: list[ExchangeRecord]) -> list[str]:
    log = AccessLog(model.AccessLog(path=str(path), format="$route $status", sample=sample))
    for record in records:
        log.write(record)
    log.close()
    return path.read_text().splitlines()


def test_one_in_so_many_of_each_route_is_logged_the_first_one_included(tmp_path: Path) -> None:
    seen = [replace(SYNC, route=route) for route in ["sync", "sync", "sync", "rare"] * 3]
    assert logged(tmp_path / "a.log", 4, seen) == [
        *("sync 200", "rare 200"),
        "sync 200",  # the fifth
        "sync 200",  # the ninth
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"status": 404},
        {"status": 502, "end_reason": "upstream_error"},
        {"end_reason": "client_gone"},
        {"attempts": RETRIED.attempts},
    ],
    ids=str,
)
def test_what_did_not_go_well_is_always_logged(change: dict[str, object], tmp_path: Path) -> None:
    odd = replace(SYNC, **change)  # type: ignore[arg-type]
    assert len(logged(tmp_path / "a.log", 1000, [SYNC, *[odd] * 3, SYNC])) == 4
