"""Every mistake in a file is reported at once, at its place, in words for its author."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from synproxy.config.loader import MAX_FILE_SIZE, load, loads
from synproxy.config.model import Config, HashBalance, HealthCheck, Map, Queue
from synproxy.errors import ConfigError

CASES = Path(__file__).parent / "cases"
SHIPPED = Path(__file__).parents[3] / "config"
SMALL = "listeners: [8008]\n"


def problems(text: str) -> list[str]:
    """``line:column: message (hint)`` of every problem; the text must have one."""
    with pytest.raises(ConfigError) as caught:
        loads(text, "file.yaml")
    assert {problem.file for problem in caught.value.problems} == {"file.yaml"}
    return [str(problem).removeprefix("file.yaml:") for problem in caught.value.problems]


@pytest.mark.parametrize("name", ["model", "traps", "references", "pools", "peers"])
def test_all_mistakes_of_a_file_are_reported_at_once_in_order(name: str) -> None:
    expected = (CASES / f"{name}.expected").read_text(encoding="utf-8").splitlines()
    assert problems((CASES / f"{name}.yaml").read_text(encoding="utf-8")) == expected


def test_a_file_may_be_as_short_as_one_listener() -> None:
    config = loads(SMALL, "file.yaml")
    assert [listener.listen for listener in config.listeners] == ["8008"]
    assert config.proxy.read_timeout == 3600.0


def test_short_forms_mean_their_long_forms() -> None:
    config = load(CASES / "good_short_forms.yaml")
    assert [listener.listen for listener in config.listeners] == [
        "8008",
        "[::]:8008",
        "unix:/run/synproxy/http.sock",
    ]
    assert config.http.gzip.enabled
    assert config.http.large_client_header_buffers.number == 4
    assert config.http.large_client_header_buffers.size == 16_384
    assert config.http.keepalive_timeout == 65.0
    assert config.proxy.next_upstream == ()
    assert not config.proxy.socket_keepalive
    assert config.allowlists["bare"] == config.allowlists["full"]
    assert [server.address for server in config.pools["one"].servers] == [
        "unix:/one",
        "127.0.0.1:8080",
    ]
    assert config.pools["three"].servers == config.pools["two"].servers
    assert config.pools["three"].keepalive == 4
    assert config.pools["two"].balance == HashBalance(hash="$room$who")
    assert config.access_log.path == "off"
    assert config.pools["three"].health_check is None
    assert config.pools["four"].health_check == HealthCheck()
    assert config.pools["four"].queue == Queue(number=100, timeout=5)
    assert config.pools["five"].health_check == HealthCheck(interval=0.5)


def test_connection_upgrade_exists_without_being_written() -> None:
    expected = Map(source="$http_upgrade", values={"": ""}, default="upgrade")
    assert loads(SMALL, "f").maps == {"connection_upgrade": expected}
    assert loads(f"{SMALL}maps: {{}}", "f").maps == {"connection_upgrade": expected}


def test_a_connection_upgrade_of_ones_own_stays() -> None:
    config = loads(f"{SMALL}maps: {{connection_upgrade: {{source: $host}}}}", "f")
    assert config.maps == {"connection_upgrade": Map(source="$host")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", '1:1: the file is empty (it needs at least "listeners")'),
        ("# only this", '1:1: the file is empty (it needs at least "listeners")'),
        ("8008", '1:1: expected keys such as "listeners:", got "8008"'),
        ("- 8008", '1:1: expected keys such as "listeners:", got a list'),
        ("[]", '1:1: expected keys such as "listeners:", got an empty list'),
        ("a: [", "1:5: a value is missing here"),
        ("a: [b\nc: d", '2:2: a "," or a "]" is missing'),
        ("{a: 1\nb: 2}", '2:2: a "," or a "}" is missing'),
        ("a:\n\tb: 1", "2:1: a tab stands where spaces are expected"),
        ("a: @b", '1:4: a value cannot start with "@" (put it in quotes)'),
        ("a: %b", '1:4: a value cannot start with "%" (put it in quotes)'),
        ('a: 1\nb: "x\n', "2:4: this quote is never closed"),
        ("a: *b", "1:4: this alias repeats an anchor that is not defined above (quote the text "
         'if it only starts with "*")'),
        ("a: b: c", '1:5: a ":" is not expected here (check the indentation, and quote texts '
         'that hold ": ")'),
        ("a:\n  b: 1\n c: 2", "3:2: this does not fit the lines above (check the indentation and "
         "the quotes)"),
        ("---\na: 1\n---\nb: 2", '3:1: a second document starts here (remove the "---")'),
        ("\ufeffa: 1", "1:1: the file starts with a byte order mark (save it as UTF-8 without)"),
        ("a: 1\nb: \x07", "2:4: the character U+0007 is not allowed"),
        ("a: 1\r\nb: 2\r\x07", "3:1: the character U+0007 is not allowed"),
        ("é: \x85", "1:4: the character U+0085 is not allowed"),
        ("a: \ud800", "1:4: the character U+D800 is not allowed"),
        ("[" * 40, "1:33: lists and mappings nest more than 32 deep"),
        ("[" * 500_000, "1:33: lists and mappings nest more than 32 deep"),
        ("a: [" + "x," * 100_001 + "]",
         "1:199999: the file holds more than 100000 keys and values"),
        ("a: " + "x" * MAX_FILE_SIZE, f"1:1: the file is larger than {MAX_FILE_SIZE} bytes"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_at_all_is_the_only_problem(text: str, expected: str) -> None:
    assert problems(text) == [expected]


def test_an_alias_bomb_is_stopped() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert problems("\n".join(levels))[-1].endswith("aliases make this document too large")


def test_a_merge_bomb_is_stopped() -> None:
    levels = ["a0: &a0 {x: 1}"]
    levels += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 9)]
    assert problems("\n".join(levels))[-1].endswith("aliases make this document too large")


def test_columns_count_characters_not_bytes() -> None:
    assert problems('listeners: ["é", {listen: "8008", é: 1}]')[1].startswith("1:35: unknown key")


def test_a_mistake_that_is_repeated_by_an_alias_is_reported_once() -> None:
    text = f"{SMALL}pools: {{a: &a {{servers: [x]}}, b: *a}}"
    assert problems(text) == ['2:26: address: a port is missing, as in 127.0.0.1:8008, got "x"']


def test_no_message_shows_a_long_value_whole() -> None:
    long = "x" * 5000
    texts = [
        f"{SMALL}{long}: 1",
        f"{SMALL}shutdown_timeout: {long}",
        f'{SMALL}shutdown_timeout: "{"é" * 5000}"',
        f"{SMALL}maps: {{{long}: {{source: ${long}}}}}",
        f'{SMALL}pools: {{a: {{servers: ["{long}"]}}}}',
        f'{SMALL}routes: [{{name: a, location: "~ ({long}", pool: {long}}}]',
        f'{SMALL}routes: [{{name: a, location: "~ (?P={long})", pool: {long}}}]',
        f'{SMALL}routes: [{{name: a, location: "~ [[:{long}:]]", pool: {long}}}]',
        f"{SMALL}shutdown_timeout: {'1' * 5000}",
        f"listeners: [{long}, 'unix:/{long}', '1:{long}', '[{long}]:1']",
        f"{SMALL}allowlists: {{a: [{{allow: {long}}}]}}",
        f"{SMALL}shutdown_timeout: !{long} 1",
    ]
    for text in texts:
        for line in problems(text):
            assert max(map(len, re.findall(r"x+|é+|1+", line)), default=0) <= 80


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xff\xfea\x00", "1:1: the file is UTF-16 (save it as UTF-8)"),
        (b"a: 1\nb: \xc3\xa9\xff", "2:5: the byte 0xff is not UTF-8 (save the file as UTF-8)"),
        (b"a" * (MAX_FILE_SIZE + 1), f"1:1: the file is larger than {MAX_FILE_SIZE} bytes"),
        (b"\xef\xbb\xbfa: 1", "1:1: the file starts with a byte order mark (save it as UTF-8 "
         "without)"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path, data: bytes, expected: str) -> None:
    path = tmp_path / "synproxy.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}:{expected}"


@pytest.mark.parametrize("name", [".", "missing.yaml", "nul\0"])
def test_a_file_that_cannot_be_opened_is_a_problem(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="1:1: the file cannot be read: "):
        load(tmp_path / name)


@pytest.mark.parametrize("name", ["synapse-workers.yaml", "seed-parity.yaml"])
def test_a_shipped_configuration_loads(name: str) -> None:
    config = load(SHIPPED / name)
    assert isinstance(config, Config)
    assert config.http.client_max_body_size == 1 << 30
    assert config.proxy.client_max_body_size == 50 << 20
    assert config.maps["sync"].values == {"": "initial_sync"}
    assert len(config.pools["federation_requests"].servers) == 4
    key = "$remote_addr" if name == "seed-parity.yaml" else "$x_matrix_origin"
    assert config.pools["federation_requests"].balance == HashBalance(hash=key)


def test_the_pool_that_knows_whose_tokens_are_must_exist() -> None:
    pools = 'pools: {main: {servers: ["unix:/run/main.sock"]}}\n'
    assert loads(f"{SMALL}{pools}synapse: {{whoami: main}}\n", "f").synapse.whoami == "main"
    assert problems(f"{SMALL}{pools}synapse: {{whoami: mian}}\n") == [
        '3:19: no pool is named "mian" (did you mean "main"?)'
    ]


def test_the_variables_that_know_matrix_are_builtin() -> None:
    text = (
        f"{SMALL}maps: {{room_id: {{source: $host}}}}\n"
        'pools: {a: {servers: ["unix:/a"], balance: {hash: "$synapse_user$x_matrix_origin"}}}\n'
    )
    assert problems(text) == [
        '2:8: the map "room_id" has the name of a builtin variable (choose another name)'
    ]


@pytest.mark.parametrize(
    ("request_id", "told"),
    [
        ("{trust: privat}", '3:23: no allowlist is named "privat" (did you mean "private"?)'),
        ("{header: 'a b'}", '3:24: "a b" cannot be a header name here'),
        ("content-length", '3:15: "content-length" cannot be a header name here'),
    ],
)
def test_a_request_id_that_cannot_be_is_refused(request_id: str, told: str) -> None:
    text = f"listeners: [8008]\nhttp:\n  request_id: {request_id}\nallowlists: {{private: []}}\n"
    with pytest.raises(ConfigError) as caught:
        loads(text, "file.yaml")
    assert str(caught.value) == f"file.yaml:{told}"
