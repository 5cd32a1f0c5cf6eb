"""How text reaches an administrator: plain and aligned, with colour only on a terminal.

Must not know what the text is about.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import TextIO

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


class Paint:
    """ANSI colours for one stream; off unless it is a terminal (https://no-color.org)."""

    def __init__(self, stream: TextIO) -> None:
        self.enabled = (
            stream.isatty()
            and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM", "dumb") != "dumb"
        )

    def __call__(self, text: str, style: str) -> str:
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.enabled and text else text


def width(stream: TextIO) -> int | None:
    """Columns of a terminal; None for a file or a pipe, where nothing is ever cut."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def table(rows: Sequence[Sequence[str]], limit: int | None = None) -> list[str]:
    """Lines with every column but the last padded to the same width; cut at `limit` columns."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        cells = [cell.ljust(size) for cell, size in zip(row, widths, strict=False)]
        line = "  ".join([*cells, row[-1]]).rstrip()
        if limit is not None and len(line) > limit:
            line = line[: limit - 3] + "..."
        lines.append(line)
    return lines
