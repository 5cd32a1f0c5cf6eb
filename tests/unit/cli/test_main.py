"""The command line itself: exit codes, and nginx's way of asking for a check."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from synproxy import __version__
from synproxy.cli.main import main


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["serve"],
        ["-c", "x.yaml"],
        ["-t", "check"],
        ["-q", "check"],
        ["explain", "GET"],
        ["explain", "GET", "/", "-H", "no colon"],
        ["explain", "GET", "/", "--from", "somewhere"],
        ["run", "--loop", "trio"],
        ["demo", "--port", "65536"],
    ],
)
def test_wrong_usage_has_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("usage: synproxy")


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"synproxy {__version__}\n"


def test_a_good_file_passes(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", config]) == 0
    assert capsys.readouterr() == (f"configuration file {config} test is successful\n", "")


def test_a_quiet_check_says_nothing_about_a_good_file(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "-q", "-c", config]) == 0
    assert capsys.readouterr() == ("", "")


def test_dash_t_prints_what_nginx_prints(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-t", "-c", config]) == 0
    assert capsys.readouterr() == (
        "",
        f"synproxy: the configuration file {config} syntax is ok\n"
        f"synproxy: configuration file {config} test is successful\n",
    )


def test_dash_t_of_a_bad_file_ends_as_nginx_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("listeners: [8008]\nroutes: [{name: a, location: /, pool: nowhere}]\n")
    assert main(["-t", "-q", "-c", str(bad)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"{bad}:2:")
    assert err.endswith(f"\nsynproxy: configuration file {bad} test failed\n")


@pytest.mark.parametrize(
    "command", [["check"], ["routes"], ["explain", "GET", "/"], ["run"], ["doctor"]]
)
def test_mistakes_have_exit_code_1_in_every_command(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("listeners: [8008]\nrotues: []\n")
    assert main([*command, "--config", str(bad)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert f'{bad}:2:1: unknown key "rotues"' in err
    assert err.endswith("1 mistake\n")


def test_a_missing_file_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-c", str(tmp_path / "none.yaml")]) == 1
    assert "none.yaml" in capsys.readouterr().err


def test_a_reader_that_stops_early_gets_no_traceback(config: str) -> None:
    command = [sys.executable, "-m", "synproxy", "routes", "-c", config]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.close()
    assert child.stderr is not None
    with child.stderr:
        assert child.stderr.read() == b""
    assert child.wait(30) == 1
