"""The command line of the doctor, and the form of its answers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from synproxy.cli.doctor.examination import first_url
from synproxy.cli.main import main
from tests.support.process import free_port
from tests.unit.cli.doctor.compiled import config

CONFIG = """\
listeners: ["127.0.0.1:{port}"]
http: {{client_max_body_size: 50M}}
pools: {{main: {{servers: ["unix:/nonexistent/main.sock"], keepalive_timeout: 50s}}}}
routes: [{{name: all, location: /_matrix, pool: main}}]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "synproxy.yaml"
    path.write_text(CONFIG.format(port=free_port()))
    return str(path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--url", "matrix.example.org"],
        ["--url", "ftp://matrix.example.org"],
        ["--user", ""],
        ["--user", ":adm"],
        ["--clients", "0"],
        ["--clients", "many"],
        ["--timeout", "0"],
        ["--timeout", "nan"],
    ],
)
def test_wrong_usage_has_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["doctor", *arguments])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("usage: synproxy doctor")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--user", "nosuchuser"], "there is no user nosuchuser"),
        (["--user", "nobody:nosuchgroup"], "there is no group nosuchgroup"),
        (["--token-file", "/nonexistent"], "No such file or directory: '/nonexistent'"),
    ],
)
def test_what_cannot_be_begun_has_exit_code_1(
    file: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "-c", file, *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("synproxy doctor: ")
    assert message in err


def test_a_configuration_with_mistakes_is_shown_and_nothing_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.yaml").write_text("listeners: [8008]\nrotues: []\n")
    assert main(["doctor", "-c", str(tmp_path / "bad.yaml")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert 'unknown key "rotues"' in err


def test_one_line_for_each_check_and_a_count(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "-c", file]) == 1
    *lines, count = capsys.readouterr().out.splitlines()
    statuses = []
    for line in lines:
        found = re.fullmatch(r"(ok|warn|fail|skip) +([a-z-]+) +(\S.*)", line)
        assert found is not None, line
        statuses.append(found[1])
        if found[1] in ("warn", "fail"):
            assert "; to do: " in line
    assert count == ", ".join(
        f"{statuses.count(name)} {name}" for name in ("ok", "warn", "fail", "skip")
    )
    assert [name for name in lines if name.startswith("fail")] == [
        "fail  socket           unix:/nonexistent/main.sock: no such file: there is no directory"
        " /nonexistent; to do: start the worker, or correct the address: it is 'path:' in the"
        " worker's listener",
        "fail  pool             main: no server answers: its requests fail with 502; to do: see"
        " the lines about its servers above",
    ]


def test_what_cannot_be_asked_is_said(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "-c", file, "--json"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    skipped = [(each["check"], each["subject"]) for each in findings if each["status"] == "skip"]
    assert [check for check, _ in skipped] == [
        "synapse",
        "proxy",
        "escapes",
        "upload",
        "well-known",
        "well-known",
    ]
    assert all(each["reason"] for each in findings)


def test_json_has_every_finding_and_the_counts(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["doctor", "-c", file, "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"synproxy", "config", "url", "findings", "counts"}
    assert answer["config"] == file
    assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+", answer["url"])
    assert {frozenset(each) for each in answer["findings"]} == {
        frozenset({"check", "status", "subject", "reason", "remedy"})
    }
    assert sum(answer["counts"].values()) == len(answer["findings"])
    assert answer["counts"]["fail"] == 2


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("8008", "http://127.0.0.1:8008"),
        ("127.0.0.5:80", "http://127.0.0.5:80"),
        ("[::]:8008", "http://[::1]:8008"),
        ("unix:/run/synproxy/http.sock", "unix:/run/synproxy/http.sock"),
    ],
)
def test_clients_come_in_by_the_first_listener(listen: str, url: str) -> None:
    assert first_url(config(listeners=[listen, "9999"])) == url
