"""`synproxy init` writes a configuration to standard output, or mistakes to standard error."""

from __future__ import annotations

from pathlib import Path

import pytest

from synproxy.cli.main import main
from tests.support.synapse_files import GENERIC, SynapseFiles


def init(files: SynapseFiles, *options: str) -> int:
    return main(["init", "--synapse", *map(str, files.write()), *options])


def test_what_init_writes_passes_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(SynapseFiles(tmp_path).several(GENERIC).writers("typing").media("media1")) == 0
    written = tmp_path / "synproxy.yaml"
    written.write_text(capsys.readouterr().out)
    assert main(["check", "--config", str(written)]) == 0
    assert main(["explain", "GET", "/_matrix/client/v3/sync", "-c", str(written)]) == 0
    assert "generic_by_user" in capsys.readouterr().out


def test_mistakes_are_printed_with_their_lines_and_nothing_else_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(SynapseFiles(tmp_path).set(max_upload_size="much")) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"{tmp_path}/homeserver.yaml:17:18: max_upload_size: expected a size such as 50M, "
        'got "much"\n'
        "    max_upload_size: much\n"
        "                     ^\n"
        "1 mistake\n"
    )


def test_options_reach_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = SynapseFiles(tmp_path).several(GENERIC)
    options = ("--version", "1.120", "--assign", "generic_worker2=login,sso")
    assert init(files, *options, "--listen", "8448", "--allow", "192.0.2.0/24") == 0
    written = capsys.readouterr().out
    assert "for Synapse v1.120 from" in written
    assert "#   generic_worker2  login, sso (--assign)" in written
    assert '  - "8448"\n' in written
    assert "    - allow: 192.0.2.0/24\n" in written


@pytest.mark.parametrize(
    ("option", "mistake"),
    [
        (("--version", "new"), "expected a version such as v1.163, got 'new'"),
        (("--assign", "a"), "expected NAME=KIND[,KIND], got 'a'"),
        (("--assign", "a=genric"), "there is no kind 'genric' (did you mean \"generic\"?)"),
        (("--assign", "a=typing"), "there is no kind 'typing'"),
        (("--listen", "here"), "expected"),
        (("--allow", "everybody"), "'everybody' does not appear to be"),
        (("--allow", "192.0.2.1/24"), "has host bits set"),
    ],
)
def test_an_option_that_makes_no_sense_is_wrong_usage(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    option: tuple[str, str],
    mistake: str,
) -> None:
    with pytest.raises(SystemExit) as ended:
        init(SynapseFiles(tmp_path), *option)
    assert ended.value.code == 2
    assert mistake in capsys.readouterr().err


def test_a_worker_that_does_not_exist_cannot_be_assigned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(SynapseFiles(tmp_path), "--assign", "sync1=login") == 1
    assert capsys.readouterr().err == (
        '--assign sync1: no worker is named "sync1" (name the workers\' files too)\n1 mistake\n'
    )
