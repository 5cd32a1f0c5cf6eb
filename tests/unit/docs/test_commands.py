"""Every command in the documentation is run, or read by the parser that would read it.

A command of synproxy that needs nothing running is run, on a machine made of files below a
temporary directory. Other commands of synproxy go through its argument parser. For every other
program `WHY_NOT` has the reason why it is not run; a program without a reason is a failure.
"""

from __future__ import annotations

import contextlib
import glob
import gzip
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from synproxy.cli import manual, problems
from synproxy.cli.main import build_parser, main
from tests.support.synapse_files import GENERIC, SynapseFiles
from tests.unit.docs.blocks import ROOT, Command, commands, hidden, spans

PLACES = ("/etc/", "/var/log/", "/usr/share/")
"""Absolute paths below these are looked for on the machine that the test makes."""

RUN = {"check", "lint", "explain", "routes", "replay", "init", "import-nginx", "doctor"}
"""Commands of synproxy that need nothing running."""

ASKS = {"--ask", "--token-file"}
"""Options with which such a command asks a Synapse."""

EXIT = {"replay": {0, 3}, "import-nginx": {0, 3}, "lint": {0, 1}, "doctor": {0, 1}}
"""What they may end with here: nothing of Synapse is running, and nginx's file has its faults."""

RUN_ELSEWHERE = {
    **dict.fromkeys(
        ("drain", "maintenance", "reload", "status", "undrain"),
        "tests/process/test_documented_commands.py",
    ),
    "lint": "tests/unit/cli/test_lint.py",
    "run": "tests/support/synproxy.py",
    "top": "tests/process/test_interventions.py",
}
"""Commands that are parsed only here (`kind`), and the test that runs them."""

WHY_NOT = {
    "systemctl": "needs systemd as process 1; tests/process/test_systemd_service.py runs it",
    "systemd-sysusers": "makes users on this machine; tests/process/test_systemd_units.py tries it",
    "journalctl": "needs systemd as process 1; tests/process/test_booted_systemd.py reads it",
    "curl": "needs a running synproxy; tests/process/test_documented_commands.py types it",
    "ssh": "needs another machine",
    "tail": "follows a log for ever",
    "kill": "signals a running synproxy; tests/process/test_supervisor.py sends the same ones",
    "systemd-run": "needs systemd; tests/process/test_migration_from_nginx.py goes back without it",
    "runuser": "needs the user of the package; packaging/deb/try does the same",
    "python3": "makes a virtual environment; the tests run in one",
    "/opt/synproxy/bin/pip": "the same",
    "ln": "the same",
    "cp": "copies the example; tests/process/test_package.py checks it where the package has it",
    "apt": "installs on this machine; tests/process/test_package.py does so on one of its own",
    "podman": "needs a registry for the base image; packaging/oci says how it was tried",
}

COMMANDS = commands()
PARSER = build_parser()
OPTIONS = {
    name: {option for action in command._actions for option in action.option_strings}
    for name, command in manual.commands(PARSER).items()
}
LOG = """\
192.0.2.7 - - [24/Nov/2025:04:01:02 +0100] "GET /_matrix/client/v3/sync?since=s1 HTTP/1.1" 200 9 \
"-" "Element"
"""
SHADOW = """\
192.0.2.7 [24/Nov/2025:04:01:02 +0100] "GET /_matrix/client/v3/sync?since=s1 HTTP/1.1" 200 \
unix:/run/matrix-synapse/inbound_normal_sync1.sock "example.org"
"""
NGINX = """\
events {}
http {
  upstream main { server unix:/run/matrix-synapse/inbound_main.sock; }
  server { listen 8008; location / { proxy_pass http://main; } }
}
"""


def kind(command: Command) -> str:
    words = command.words
    if words[0] == "synproxy":
        plain = len(words) > 1 and words[1] in RUN and not ASKS & set(words)
        return "run" if plain or words[1:] == ["--version"] else "parsed"
    if words[0] == "make":
        return "target"
    if words[:2] == ["python3", "-m"] and words[2].startswith("synproxy."):
        return "module"
    return "not run"


def of(wanted: str) -> list[object]:
    once = {tuple(command.words): command for command in COMMANDS if kind(command) == wanted}
    return [
        pytest.param(command, id=f"{command.page}-{command.line[:50]}") for command in once.values()
    ]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its root directory; `work` in it is where commands are typed."""
    root = tmp_path_factory.mktemp("machine")
    work, etc, logs = root / "work", root / "etc", root / "var" / "log" / "nginx"
    for directory in (work, etc / "nginx", etc / "synproxy", etc / "matrix-synapse", logs):
        directory.mkdir(parents=True)
    shipped = (ROOT / "config" / "synapse-workers.yaml").read_text(encoding="utf-8")
    for file in ("etc/synproxy/synproxy.yaml", "etc/synproxy/trial.yaml", "work/synproxy.yaml"):
        (root / file).write_text(shipped, encoding="utf-8")
    (work / "FILE").write_text(shipped, encoding="utf-8")
    (etc / "nginx" / "nginx.conf").write_text(NGINX, encoding="utf-8")
    for directory in (work, etc / "matrix-synapse"):
        SynapseFiles(directory).several(GENERIC).write()
    (logs / "access.log").write_text(LOG, encoding="utf-8")
    (logs / "shadow.log").write_text(SHADOW, encoding="utf-8")
    (logs / "access.log.2.gz").write_bytes(gzip.compress(LOG.encode()))
    return root


def here(words: list[str], machine: Path) -> list[str]:
    """The words as the shell would pass them on that machine."""
    done: list[str] = []
    for word in words:
        there = f"{machine}{word}" if word.startswith(PLACES) else word
        found = sorted(glob.glob(there)) if "*" in word and word.startswith(PLACES) else []
        done += found or [there]
    return done


def test_no_command_stands_where_it_is_not_seen() -> None:
    assert hidden() == [], "write it in a ```console block, after a $ or #"


@pytest.mark.parametrize("command", of("run"))
def test_a_command_runs(
    command: Command, machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(machine, tmp_path / "machine")
    machine = tmp_path / "machine"
    monkeypatch.chdir(machine / "work")
    default = machine / "etc" / "synproxy" / "synproxy.yaml"
    monkeypatch.setattr(problems, "DEFAULT_CONFIG", default)
    words = here(command.words[1:], machine)
    output = sys.stdout
    with contextlib.ExitStack() as stack:
        if ">" in words:
            at = words.index(">")
            output = stack.enter_context(Path(words[at + 1]).open("w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(output))
            words = words[:at]
        if not {"-c", "--config", "--synapse", "--version"} & set(words) and (
            "--config" in OPTIONS.get(words[0], ())
        ):
            words += ["--config", str(default)]
        if words[0] == "doctor":
            if "--user" in words:  # who this test is run by may read its files
                words[words.index("--user") + 1] = "root"
            command_line = [sys.executable, "-m", "synproxy", *words]
            done = subprocess.run(command_line, capture_output=True, text=True, cwd=ROOT)
            assert (done.returncode in EXIT["doctor"], done.stderr) == (True, "")
        elif words == ["--version"]:
            with pytest.raises(SystemExit, match="0"):
                main(words)
        else:
            assert main(words) in EXIT.get(words[0], {0})


@pytest.mark.parametrize("command", of("parsed"))
def test_a_command_is_understood(command: Command) -> None:
    assert callable(PARSER.parse_args(command.words[1:]).run)


def test_what_is_only_parsed_here_is_run_by_another_test() -> None:
    parsed = {command.words[1] for command in COMMANDS if kind(command) == "parsed"}
    assert parsed == set(RUN_ELSEWHERE)
    for name, test in RUN_ELSEWHERE.items():
        assert re.search(rf"\b{name}\b", (ROOT / test).read_text(encoding="utf-8")), test


@pytest.mark.parametrize("command", of("module"))
def test_a_module_runs(command: Command, tmp_path: Path) -> None:
    words = command.words
    module = words[: words.index(">")] if ">" in words else words
    done = subprocess.run([sys.executable, *module[1:]], capture_output=True, check=True, cwd=ROOT)
    assert done.stdout


@pytest.mark.parametrize("command", of("target"))
def test_a_target_of_make_exists(command: Command) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{re.escape(command.words[1])}:", makefile, re.MULTILINE)


def test_what_is_not_run_has_a_reason_and_every_reason_is_needed() -> None:
    left_out = Counter(command.words[0] for command in COMMANDS if kind(command) == "not run")
    unknown = [c for c in COMMANDS if kind(c) == "not run" and c.words[0] not in WHY_NOT]
    assert unknown == [], "run it, or say in WHY_NOT why not"
    assert sorted(left_out) == sorted(WHY_NOT), "a reason that no command needs any more"


def test_most_commands_of_synproxy_are_run() -> None:
    kinds = Counter(map(kind, COMMANDS))
    assert kinds["run"] > kinds["parsed"]
    assert kinds["run"] >= 25


@pytest.mark.parametrize(
    "command", [pytest.param(one, id=f"{one.page}-{one.line[:50]}") for one in spans()]
)
def test_a_command_in_a_sentence_exists_with_its_options(command: Command) -> None:
    for shown in re.split(r"\|", command.line) if "|" not in command.line[:9] else []:
        words = shown.split()
        if words[0] == "synproxy" and len(words) > 1 and words[1][0].islower():
            assert words[1] in OPTIONS
            for word in words[2:]:
                if word == "--":
                    break
                assert not word.startswith("-") or word in OPTIONS[words[1]]
