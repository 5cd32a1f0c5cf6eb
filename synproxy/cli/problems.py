"""Show the mistakes of a configuration file, each with its line and a caret below the place.

Must not know what can be wrong: it prints what the loader found.
"""

from __future__ import annotations

import argparse
import sys
import unicodedata
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TextIO, TypeVar

from synproxy.cli.terminal import Paint
from synproxy.config.loader import load
from synproxy.config.model import Config
from synproxy.core.printable import printable
from synproxy.errors import ConfigError, Problem

T = TypeVar("T")

DEFAULT_CONFIG = Path("/etc/synproxy/synproxy.yaml")


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """``-c FILE``, which nearly every command has."""
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help="the configuration (default: %(default)s)",
    )


_INDENT = "    "
_LINE_LIMIT = 160
"""Characters of a source line that are shown; of a longer one, the part around the place."""


def load_or_explain(
    path: Path, stream: TextIO | None = None, *, files: bool = False
) -> Config | None:
    """The configuration, or None after all its mistakes were printed (to stderr by default).

    ``files``: also look into the certificates that it names.
    """
    try:
        return show_problems(partial(load, path, files=files), stream)
    except OSError as error:
        print(f"{path}: {error.strerror}", file=stream or sys.stderr)
    return None


def show_problems(make: Callable[[], T], stream: TextIO | None = None) -> T | None:
    """What ``make`` returns, or None after the mistakes that it raises were printed."""
    try:
        return make()
    except ConfigError as error:
        print_problems(error.problems, stream or sys.stderr)
    return None


def print_problems(problems: Iterable[Problem], stream: TextIO) -> None:
    """Every problem as ``file:line:column: message``, its source line, a caret, and a count."""
    paint = Paint(stream)
    sources: dict[str, list[str]] = {}
    count = 0
    for count, problem in enumerate(problems, start=1):  # noqa: B007 (used after the loop)
        if problem.file not in sources:
            sources[problem.file] = _read_lines(problem.file)
        place = f"{problem.place}:"
        hint = f" ({problem.hint})" if problem.hint else ""
        print(f"{paint(place, 'bold')} {printable(problem.message + hint)}", file=stream)
        for line in excerpt(sources[problem.file], problem.line, problem.column):
            print(line, file=stream)
    print(f"{count} mistake{'' if count == 1 else 's'}", file=stream)


def excerpt(lines: list[str], line: int, column: int) -> list[str]:
    """The source line and a line with a caret below `column`; nothing if there is no such line."""
    if not 0 < line <= len(lines):
        return []
    text = lines[line - 1].expandtabs(1)
    at = min(max(column - 1, 0), len(text))
    if len(text) > _LINE_LIMIT:
        start = max(0, at - _LINE_LIMIT // 2)
        cut = text[start : start + _LINE_LIMIT]
        head, tail = "..." if start else "", "..." if start + len(cut) < len(text) else ""
        text, at = f"{head}{cut}{tail}", at - start + len(head)
    padding = "".join("  " if unicodedata.east_asian_width(c) in "WF" else " " for c in text[:at])
    return [_INDENT + printable(text), f"{_INDENT}{padding}^"]


def _read_lines(file: str) -> list[str]:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
