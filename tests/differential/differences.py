"""The listed differences: rows of docs/nginx-differences.md, as the tests read them.

A row is ``| id | what | nginx 1.22 | synproxy | why | test |``; a test is ``file.py::function``,
relative to this directory or to ``tests/``, several are separated by a comma and a space.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "nginx-differences.md"
ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Row:
    """One listed difference."""

    id: str
    what: str
    nginx: str
    synproxy: str
    why: str
    test: str

    @property
    def tests(self) -> Iterator[tuple[Path, str]]:
        """The files and functions that assert this row."""
        for test in self.test.split(", "):
            name, _, function = test.strip("`").partition("::")
            near = Path(__file__).parent / name
            yield (near if near.exists() else ROOT / "tests" / name), function


def listed() -> dict[str, Row]:
    """All rows by id; raises ValueError for a malformed or a doubled one."""
    rows: dict[str, Row] = {}
    for line in DOCUMENT.read_text().splitlines():
        if not line.startswith("| ") or line.startswith(("| id |", "| ---", "| --")):
            continue
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) != 6 or not ID.fullmatch(cells[0].strip("`")) or "" in cells:
            raise ValueError(f"not a row of six cells: {line}")
        row = Row(cells[0].strip("`"), *cells[1:])
        if row.id in rows:
            raise ValueError(f"row {row.id} is there twice")
        rows[row.id] = row
    return rows


def listed_for(file: str) -> set[str]:
    """The ids of the rows that a test file asserts; ``file`` is its ``__file__``."""
    here = Path(file).resolve()
    return {row.id for row in listed().values() if any(at == here for at, _ in row.tests)}
