"""``explain`` says what the data path would do, and shows no token."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.cli.main import main
from synproxy.config.model import Map
from synproxy.core.variables import Variables
from synproxy.explain.offline import chosen_template, imagine

ALICE = "Authorization: Bearer syt_YWxpY2U_canaryCANARY_0a1b2c"
CANARY = "canaryCANARY"


@pytest.fixture
def explained(config: str, capsys: pytest.CaptureFixture[str]) -> Any:
    """A function that runs ``explain --json`` and decodes what it prints."""

    def run(*arguments: str) -> Any:
        assert main(["explain", *arguments, "--config", config, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def test_a_sync_goes_to_the_pool_its_map_names(explained: Any) -> None:
    found = explained("GET", "/_matrix/client/v3/sync?since=s1", "-H", ALICE)
    assert found["route"]["name"] == "sync"
    assert found["route"]["captures"] == {"version": "v3"}
    assert found["pool"] == {
        "name": "normal_sync",
        "written": "$sync",
        "balance": "hash $mxid_localpart consistent",
    }
    sync, *others = found["maps"]
    assert sync == {
        "name": "sync",
        "value": "normal_sync",
        "kind": "plain",
        "source": "$arg_since",
        "input": "s1",
    }
    assert [used["name"] for used in others] == ["mxid_localpart", "access_token"]
    assert sorted(found["servers"]) == [
        "unix:/run/sync1.sock",
        "unix:/run/sync2.sock",
        "unix:/run/sync3.sock",
    ]
    assert "answer" not in found


def test_a_sync_without_since_is_an_initial_one(explained: Any) -> None:
    found = explained("GET", "/_matrix/client/v3/sync?since=", "-H", ALICE)
    assert found["pool"]["name"] == "initial_sync"
    assert found["maps"][0]["value"] == "initial_sync"


def test_one_user_has_one_preference_whatever_the_device(explained: Any) -> None:
    def servers(localpart: str, device: str) -> Any:
        token = f"syt_{base64.b64encode(localpart.encode()).decode()}_{device}_111111"
        field = f"Authorization: Bearer {token}"
        return explained("GET", "/_matrix/client/v3/sync?since=s1", "-H", field)["servers"]

    users = [f"user{number}" for number in range(12)]
    homes = [servers(user, "phone")[0] for user in users]
    assert [servers(user, "laptop")[0] for user in users] == homes
    assert len(set(homes)) == 3


def test_a_map_that_another_falls_back_to_is_shown(explained: Any) -> None:
    with_header = explained("GET", "/_matrix/client/v3/sync?since=s1", "-H", ALICE)
    without = explained("GET", f"/_matrix/client/v3/sync?since=s1&access_token={CANARY}")
    names = [[used["name"] for used in found["maps"]] for found in (with_header, without)]
    assert names == [["sync", "mxid_localpart", "access_token"]] * 2
    assert [used["kind"] for used in without["maps"]] == ["plain", "hash", "hash"]


@pytest.mark.parametrize(
    ("value", "template"),
    [
        (b"", "empty"),
        (b"ABC", "exact"),
        (b"~x", "literal"),
        (b"abcd", "$user"),
        (b"ABCD", "no_case"),
        (b"other", "nothing"),
    ],
)
def test_the_entry_of_a_map_is_found_as_nginx_finds_it(value: bytes, template: str) -> None:
    values = {
        "~abc(?<user>d)": "$user",
        "~*abcd": "no_case",
        "abc": "exact",
        "": "empty",
        "\\~x": "literal",
    }
    section = Map(source="$arg_a", values=values, default="nothing")
    assert chosen_template(section, value) == template


@given(
    value=st.sampled_from([b"", b"abc", b"ABC", b"abcd", b"xabcdx", b"ABCD", b"~x"]) | st.binary()
)
def test_the_entry_shown_is_the_one_that_the_data_path_uses(value: bytes) -> None:
    values = {"~abcd": "1", "~*ABC": "2", "abc": "3", "": "4", "\\~x": "5", "\u00e9": "6"}
    section = Map(source="$host", values=values, default="7")
    request = imagine("GET", "/", [], "192.0.2.1")
    request.host = value
    used = Variables({"m": section}).template("$m").render(request)
    assert chosen_template(section, value).encode() == used


def test_the_limits_are_those_of_the_route(explained: Any) -> None:
    found = explained("GET", "/_matrix/client/v3/sync")
    assert found["limits"]["client_max_body_size"] == 65536
    assert found["limits"]["read_timeout"] == 90.0
    assert found["limits"]["connect_timeout"] == 2.0
    assert explained("GET", "/_matrix/media/x")["limits"]["client_max_body_size"] == 1 << 20


FAILURES = """
listeners: [8008]
proxy: {deadline_margin: 30s}
maintenance: {retry_after: 90s}
pools:
  initial: {servers: ["unix:/i"], fallback: normal, restart_hold: 10s}
  normal:
    servers: [{address: "unix:/n1", max_conns: 50}, {address: "unix:/n2", max_conns: 50}]
    balance: {hash: $arg_user}
    queue: {number: 200, timeout: 3s}
    fallback: main
    unrecognized: main
  main: {servers: ["unix:/m"]}
routes:
  - {name: initial, location: /initial, pool: initial}
  - {name: normal, location: /normal, pool: normal}
  - {name: closed, location: /closed, pool: main, maintenance: on}
"""


@pytest.fixture
def failures(tmp_path: Path) -> str:
    path = tmp_path / "failures.yaml"
    path.write_text(FAILURES)
    return str(path)


def test_what_happens_when_servers_fail_is_shown(
    failures: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def found(target: str) -> Any:
        assert main(["explain", "GET", target, "--config", failures, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    first = found("/initial?user=a&timeout=5000")
    assert [pool["name"] for pool in first["fallbacks"]] == ["normal", "main"]
    assert first["fallbacks"][0]["servers"] == found("/normal?user=a")["servers"]
    assert first["limits"]["restart_hold"] == 10
    assert first["limits"]["read_timeout"] == 35
    second = found("/normal?user=a")
    assert second["limits"]["queue"] == {"number": 200, "timeout": 3}
    assert second["limits"]["read_timeout"] == 3600
    assert second["unrecognized"] == "main"
    assert found("/closed")["answer"] == {
        "status": 503,
        "reason": "the route is under maintenance",
    }


def test_the_text_tells_what_happens_when_servers_fail(
    failures: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "GET", "/initial", "--config", failures]) == 0
    text = capsys.readouterr().out
    assert "fallback  normal, hash $arg_user consistent: unix:/n" in text
    assert "waits up to 10 s for a server that restarts" in text
    assert main(["explain", "GET", "/normal", "--config", failures]) == 0
    text = capsys.readouterr().out
    assert "fallback  main, round_robin: unix:/m" in text
    assert "waits up to 3 s for a place, one of 200" in text
    assert "M_UNRECOGNIZED: asks main once more" in text


def test_the_head_for_the_server_is_shown(explained: Any) -> None:
    fields = ("-H", ALICE, "-H", "X-Forwarded-For: 10.0.0.1", "-H", "Accept: x/y")
    found = explained("GET", "https://matrix.example:8448/_matrix/media/x", *fields)
    headers = found["headers"]
    assert ["Host", "matrix.example"] in headers
    assert ["X-Forwarded-For", "203.0.113.7"] in headers
    assert ["X-Forwarded-Proto", "https"] in headers
    assert ["Accept", "x/y"] in headers
    assert ["Authorization", "<redacted>"] in headers
    assert [name for name, _ in headers].count("X-Forwarded-For") == 1


def test_the_raw_target_is_forwarded_and_the_normalised_path_routed(explained: Any) -> None:
    found = explained("GET", "/_matrix//client/v3/x/../s%79nc?a=%20")
    assert found["request"]["target"] == "/_matrix//client/v3/x/../s%79nc?a=%20"
    assert found["request"]["path"] == "/_matrix/client/v3/sync"
    assert found["route"]["name"] == "sync"


def test_routes_say_why_they_were_not_chosen(explained: Any) -> None:
    found = explained("POST", "/_matrix/client/v3/sync")
    reasons = {trial["name"]: trial["reason"] for trial in found["routes"]}
    assert reasons["sync"] == "methods are GET, HEAD"
    assert not any(trial["chosen"] for trial in found["routes"])
    reason = "routes for this path exist only with GET, HEAD"
    assert found["answer"] == {"status": 405, "reason": reason}


def test_a_path_without_any_route_is_not_found(explained: Any) -> None:
    found = explained("POST", "/elsewhere")
    assert found["answer"] == {"status": 404, "reason": "no route matches"}


@pytest.mark.parametrize(
    ("address", "allowed", "rule"),
    [
        ("192.0.2.9", True, "rule 1 of private: allow 192.0.2.0/24"),
        ("203.0.113.7", False, "rule 2 of private: deny all"),
    ],
)
def test_the_deciding_rule_is_named(address: str, allowed: bool, rule: str, explained: Any) -> None:
    found = explained("GET", "/_synapse/admin/v1/x", "--from", address)
    assert found["from"] == {"address": address, "assumed": False}
    [verdict] = found["access"]
    assert (verdict["allowed"], verdict["decided_by"]) == (allowed, rule)
    assert ("answer" in found) is not allowed


def test_another_reading_of_the_path_is_guarded_too(explained: Any) -> None:
    found = explained("GET", "/_synapse/admin/../../_matrix/media/x")
    assert found["route"]["name"] == "media"
    assert [(v["route"], v["guard"], v["allowed"]) for v in found["access"]] == [
        ("media", False, True),
        ("admin", True, False),
    ]
    assert found["answer"]["status"] == 403


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["GET", "/%zz"], 400),
        (["GET", "/a b"], 400),
        (["GET", "/a#b"], 400),
        (["GET", "/\u00e9"], 400),
        (["CONNECT", "/"], 405),
        (["GET", "/", "-H", "Host: a", "-H", "Host: b"], 400),
        (["GET", "/", "-H", "Transfer-Encoding: gzip"], 501),
        (["OPTIONS", "*"], 204),
        (["GET", "/versions"], 404),
    ],
)
def test_what_synproxy_answers_itself_is_told(
    arguments: list[str], status: int, explained: Any
) -> None:
    assert explained(*arguments)["answer"]["status"] == status


def test_the_default_address_is_on_nobodys_allowlist_and_said_to_be_assumed(
    explained: Any,
) -> None:
    assert explained("GET", "/")["from"] == {"address": "203.0.113.7", "assumed": True}


SECRETS = [
    ["-H", ALICE],
    ["-H", f"Authorization: Bearer mat_{CANARY}"],
    ["-H", f"authorization: bearer {CANARY}"],
    ["-H", f"Cookie: session={CANARY}"],
    ["-H", f'Authorization: X-Matrix origin="a",key="b",sig="{CANARY}"'],
    ["-H", f"Referer: https://app.example/?loginToken={CANARY}"],
]
TARGETS = [
    "/_matrix/client/v3/sync?since=s1",
    f"/_matrix/client/v3/sync?since=s1&access_token={CANARY}",
    f"/_matrix/client/v3/sync?since=s1&access%5ftoken={CANARY}",
    f"/_matrix/client/v3/sync?access_token=syt_YWxpY2U_{CANARY}_000000&since=s1",
    f"https://matrix.example/_matrix/media/x?token={CANARY}",
]


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("fields", SECRETS)
@pytest.mark.parametrize("target", TARGETS)
def test_no_token_is_shown(
    as_json: bool,
    fields: list[str],
    target: str,
    config: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--json"] if as_json else []
    assert main(["explain", "GET", target, *fields, "-c", config, *options]) == 0
    out, err = capsys.readouterr()
    assert CANARY not in out + err
    assert "/_matrix/" in out


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        (["-H", ALICE], {"value": "alice", "kind": "localpart"}),
        ([], {"value": "", "kind": "empty"}),
    ],
)
def test_the_key_is_shown_as_what_it_is(
    fields: list[str], key: dict[str, str], explained: Any
) -> None:
    found = explained("GET", "/_matrix/client/v3/sync?since=s1", *fields)
    assert found["key"] == {"template": "$mxid_localpart", **key}


def test_a_key_that_is_a_token_is_shown_as_a_hash(explained: Any) -> None:
    field = f"Authorization: Bearer mat_{CANARY}"
    key = explained("GET", "/_matrix/client/v3/sync?since=s1", "-H", field)["key"]
    assert key["kind"] == "hash"
    assert len(key["value"]) == 12


def test_a_key_without_secrets_is_shown(explained: Any) -> None:
    found = explained("GET", "/_matrix/media/x", "--from", "2001:DB8::1")
    assert found["key"] == {"template": "$remote_addr", "value": "2001:db8::1", "kind": "plain"}


def test_the_text_reads_from_the_request_to_the_server(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = "/_matrix/client/v3/sync?since=s1"
    assert main(["explain", "get", target, "-H", ALICE, "-c", config]) == 0
    text = capsys.readouterr().out
    lines = [line.split(maxsplit=1) for line in text.splitlines()]
    labels = [words[0] for words in lines if words[0].isalpha() and words[0].islower()]
    wanted = ["request", "path", "host", "from", "route", "before", "access", "map", "pool"]
    wanted += ["key", "servers", "limits", "headers"]
    assert [label for label in wanted if label in labels] == wanted
    assert "sync (GET): location ~ ^/_matrix/client/(?<version>r0|v3)/sync$" in text
    assert "login: regex does not match" in text
    assert "$sync = 'normal_sync' because $arg_since = 's1'" in text
    assert "$mxid_localpart = 'alice' (the user, read from the token)" in text
    assert "> unix:/run/sync" in text
    assert "up to 64k" in text


@pytest.fixture
def edge_config(tmp_path: Path) -> str:
    path = tmp_path / "edge.yaml"
    path.write_text(
        "listeners: [8008]\n"
        "http: {cors_preflight: on}\n"
        "well_known: {server: {m.server: matrix.example.org:443}}\n"
        'pools: {main: {servers: ["unix:/run/main.sock"]}}\n'
        "routes: [{name: sync, location: ~ /sync$, pool: main}]\n"
    )
    return str(path)


@pytest.mark.parametrize(
    ("method", "target", "route", "status"),
    [
        ("OPTIONS", "/_matrix/client/v3/sync", "http.cors_preflight", 204),
        ("GET", "/.well-known/matrix/server", "well_known.server", 200),
        ("POST", "/.well-known/matrix/server", "well_known.server", 405),
    ],
)
def test_implied_routes_are_explained_by_the_key_they_come_from(
    edge_config: str,
    capsys: pytest.CaptureFixture[str],
    method: str,
    target: str,
    route: str,
    status: int,
) -> None:
    assert main(["explain", method, target, "--config", edge_config, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["route"]["name"] == route
    assert found["answer"] == {"status": status, "reason": "the route says so"}


def test_implied_routes_stay_out_of_what_is_not_about_them(
    edge_config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "GET", "/sync", "--config", edge_config, "--json"]) == 0
    trials = json.loads(capsys.readouterr().out)["routes"]
    assert [trial["name"] for trial in trials] == ["sync"]


def test_routes_lists_implied_ones_where_they_are_tried(
    edge_config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["routes", "--config", edge_config, "--json"]) == 0
    names = [route["name"] for route in json.loads(capsys.readouterr().out)["routes"]]
    assert names == ["http.cors_preflight"] * 5 + ["well_known.server"] * 3 + ["sync"]


def user_config(tmp_path: Path, synapse: str = "") -> str:
    path = tmp_path / "user.yaml"
    path.write_text(
        f"listeners: [8008]\n{synapse}"
        "pools:\n"
        '  main: {servers: ["unix:/run/main.sock"]}\n'
        "  sync:\n"
        '    servers: ["unix:/run/a.sock", "unix:/run/b.sock"]\n'
        "    balance: {hash: $synapse_user}\n"
        "routes: [{name: sync, location: /, pool: sync}]\n"
    )
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["-H", ALICE], {"value": "alice", "kind": "localpart"}),
        (["-H", "Authorization: Bearer x y"], {"value": "203.0.113.7", "kind": "address"}),
        ([], {"value": "203.0.113.7", "kind": "address"}),
        (["--from", "unix:"], {"value": "", "kind": "empty"}),
    ],
)
def test_the_user_and_where_it_is_known_from(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    key: dict[str, str],
) -> None:
    config = user_config(tmp_path)
    assert main(["explain", "GET", "/sync", *arguments, "--config", config, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["key"] == {"template": "$synapse_user", **key}


@pytest.mark.parametrize(
    ("synapse", "note"),
    [
        ("", "synapse.whoami can name a pool that knows the user"),
        (
            "synapse: {whoami: main}\n",
            "it becomes the user once pool main has said whose the token is",
        ),
    ],
)
def test_a_token_that_does_not_name_its_user_is_shown_as_a_hash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], synapse: str, note: str
) -> None:
    config = user_config(tmp_path, synapse)
    token = f"Authorization: Bearer mat_{CANARY}"
    assert main(["explain", "GET", "/sync", "-H", token, "--config", config]) == 0
    text = capsys.readouterr().out
    assert CANARY not in text
    assert "$synapse_user = 'token:" in text
    assert "(a hash of the token, which does not name its user)" in text
    assert note in " ".join(text.split())


@pytest.mark.parametrize(
    ("sender", "address", "said"),
    [
        ("10.0.0.1", "198.51.100.7", "as told by the trusted proxy 10.0.0.1"),
        ("10.9.9.9", "10.9.9.9", "10.9.9.9 is no trusted proxy, and is not believed"),
    ],
)
def test_the_word_of_a_trusted_proxy_counts(
    sender: str, address: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "synproxy.yaml"
    file.write_text(
        "listeners: [8008]\nhttp: {trusted_proxies: [10.0.0.1]}\n"
        "pools: {main: {servers: ['unix:/run/main.sock']}}\n"
        "routes: [{name: all, location: /, pool: main}]\n"
    )
    fields = ["-H", "X-Forwarded-For: 198.51.100.7", "-H", "X-Forwarded-Proto: https"]
    asked = ["explain", "GET", "/", "--from", sender, *fields, "--config", str(file)]
    assert main([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["from"] == {"address": address, "assumed": False, "told": said}
    assert main(asked) == 0
    assert f"{address} ({said})" in capsys.readouterr().out


def test_a_pool_with_a_name_says_that_dns_knows_its_servers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "synproxy.yaml"
    file.write_text(
        "listeners: [8008]\n"
        "pools: {main: {servers: [{address: 'workers.example.org:8008', resolve: on}]}}\n"
        "routes: [{name: all, location: /, pool: main}]\n"
    )
    assert main(["explain", "GET", "/", "--config", str(file)]) == 0
    assert "workers.example.org:8008: DNS says which servers" in capsys.readouterr().out
