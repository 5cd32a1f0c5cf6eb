"""Writes shell completions, made from the argument parser, into the directory that is named.

`make completions` runs it. shtab is needed here only, so the parser itself does not know it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import shtab

from synproxy.cli.main import build_parser
from synproxy.cli.manual import commands

FILES = {"bash": "synproxy", "zsh": "_synproxy", "fish": "synproxy.fish"}
"""Named as each shell looks for them."""


def parser() -> argparse.ArgumentParser:
    """The parser of ``synproxy``; arguments that are files complete to files."""
    made = build_parser()
    for command in (made, *commands(made).values()):
        for action in command._actions:
            if action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return made


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for shell, name in FILES.items():
        text = shtab.complete(parser(), shell=shell)
        (directory / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
