"""The command line as the manual page, the site and shells know it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from synproxy.cli import manual
from synproxy.cli.main import build_parser

ROOT = Path(__file__).parents[3]
COMMANDS = manual.commands(build_parser())
TEXT = manual.text()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_manual_has_every_command_with_every_option(name: str) -> None:
    part = TEXT.split(f"### synproxy {name}\n", 1)[1].split("\n### ", 1)[0]
    for action in COMMANDS[name]._actions:
        for option in action.option_strings:
            assert option in ("-h", "--help") or f"`{option}" in part


def test_bash_completes_commands_options_and_files(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, ROOT / "packaging" / "completions.py", tmp_path], check=True, cwd=ROOT
    )
    assert {path.name for path in tmp_path.iterdir()} == {"synproxy", "_synproxy", "synproxy.fish"}
    (tmp_path / "mine.yaml").touch()
    script = """
source ./synproxy
for words in "ex" "explain --js" "check -c mi"; do
  COMP_WORDS=(synproxy $words); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
  _shtab_synproxy synproxy "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
  echo "${COMPREPLY[@]}"
done
"""
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["explain", "--json", "mine.yaml"]
