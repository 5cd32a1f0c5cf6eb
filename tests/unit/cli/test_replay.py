"""`synproxy replay` counts where the requests of a log would have gone, and shows no secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from synproxy.cli.main import main

CONFIG = """\
listeners: ["8008"]
maps: {{kind: {{source: $arg_since, values: {{"": first}}, default: later}}}}
allowlists: {{own: [{{allow: 127.0.0.1}}, {{deny: all}}]}}
pools:
  first: {{servers: ["127.0.0.1:9001"]}}
  later:
    balance: {{hash: $http_x_user}}
    servers: ["localhost:9002", "127.0.0.1:9003"]
routes:
  - {{name: sync, location: = /sync, pool: $kind}}
  - {{name: admin, location: /admin, pool: first, allowlists: [own]}}
  - {{name: gone, location: /gone, respond: {{status: 410}}}}
{more}"""
CANARY = "syt_YWxpY2U_cAnArYcAnArY_1"
COMBINED = '203.0.113.7 - - [25/Nov/2025:04:01:02 +0100] "{}" {} 5 "-" "agent"'
SHADOW = '$remote_addr $upstream_addr "$http_x_user" $status "$request"'


def replayed(
    directory: Path, lines: list[str], capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[int, dict[str, Any]]:
    config, log = directory / "synproxy.yaml", directory / "access.log"
    config.write_text(CONFIG.format(more=""))
    log.write_text("".join(f"{line}\n" for line in lines))
    status = main(["replay", str(log), "-c", str(config), "--json", *options])
    told = capsys.readouterr().out
    assert "cAnArY" not in told
    return status, json.loads(told)


def counts(told: dict[str, Any]) -> set[tuple[str, str, int, int]]:
    return {(one["route"], one["pool"], one["status"], one["count"]) for one in told["goals"]}


def test_requests_are_counted_by_route_and_pool(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        *[COMBINED.format(f"GET /sync?since=1&access_token={CANARY} HTTP/1.1", 200)] * 3,
        COMBINED.format("GET /sync HTTP/1.1", 200),
        COMBINED.format("GET /admin HTTP/1.1", 200),
        COMBINED.format("GET /gone HTTP/1.1", 200),
        COMBINED.format("GET /nowhere HTTP/1.1", 404),
        COMBINED.format("GET /a#b HTTP/1.1", 200),
        COMBINED.format("", 400),
        f"nonsense access_token={CANARY}",
    ]
    status, told = replayed(tmp_path, lines, capsys)
    assert status == 0
    assert counts(told) == {
        *(("sync", "later", 0, 3), ("sync", "first", 0, 1), ("admin", "", 403, 1)),
        *(("gone", "", 410, 1), ("", "", 404, 1), ("", "", 400, 1)),
    }
    assert (told["requests"], told["not_understood"]["count"]) == (8, 2)


def test_another_configuration_differs_where_other_servers_are_reached(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.yaml"
    more = "  - {name: nowhere, location: = /nowhere, pool: first}\n"
    other.write_text(CONFIG.format(more=more).replace("name: sync", "name: renamed"))
    lines = [
        COMBINED.format(f"GET {target} HTTP/1.1", 200)
        for target in ("/sync", "/nowhere", f"/nowhere?access_token={CANARY}")
    ]
    status, told = replayed(tmp_path, lines, capsys, "--against", str(other))
    assert status == 3
    (changed,) = told["changed"]
    assert changed == {
        "synproxy": "- -> 404 (no route matches)",
        "other": "nowhere -> first",
        "count": 2,
        "examples": ["GET /nowhere", "GET /nowhere?access_token=<redacted>"],
    }


def test_what_nginx_sent_elsewhere_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    as_nginx = [
        '1.2.3.4 127.0.0.1:9002, 127.0.0.1:9001 "-" 200 "GET /sync HTTP/1.1"',
        '1.2.3.4 127.0.0.1:9002 "-" 200 "GET /sync?since=1 HTTP/1.1"',  # no key: any server
        '1.2.3.4 - "-" 403 "GET /admin HTTP/1.1"',
    ]
    # One of the two servers is the user's, the other is not.
    one_of_two = [
        f'1.2.3.4 127.0.0.1:{port} "alice" 200 "GET /sync?since=1 HTTP/1.1"'
        for port in (9002, 9003)
    ]
    elsewhere = [
        '1.2.3.4 127.0.0.1:9009 "-" 200 "GET /sync HTTP/1.1"',
        '1.2.3.4 127.0.0.1:9001 "-" 200 "GET /gone HTTP/1.1"',
        '1.2.3.4 - "-" 404 "GET /sync HTTP/1.1"',
    ]
    lines = as_nginx + one_of_two + elsewhere
    status, told = replayed(tmp_path, lines, capsys, "--log-format", SHADOW)
    assert status == 3
    assert told["beside_nginx"] == {"same": 4, "other server": 1, "other pool": 3}
    assert {(one["synproxy"], one["other"]) for one in told["elsewhere"]} >= {
        ("sync -> first", "127.0.0.1:9009"),
        ("gone -> 410 (the route says so)", "127.0.0.1:9001"),
        ("sync -> first", "answered 404 itself"),
    }


def test_a_log_that_cannot_be_read_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "synproxy.yaml").write_text(CONFIG.format(more=""))
    missing = str(tmp_path / "missing.log")
    assert main(["replay", missing, "-c", str(tmp_path / "synproxy.yaml")]) == 1
    assert f"{missing}: No such file" in capsys.readouterr().err
