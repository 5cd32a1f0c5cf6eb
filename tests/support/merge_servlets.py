"""Makes synproxy/synapse/data/servlets.txt from what ``enumerate_servlets`` printed.

    python -m tests.support.merge_servlets v1.98.json v1.157.json ... > servlets.txt

The files are of ascending versions. Must not know what the data is used for.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from synproxy.synapse.servlets import HEAD
from synproxy.synapse.version import Version, parse_version

Row = tuple[str, str]
"""Method and regex."""

# Registered, and failing with 500: their stores lack what it takes (synapse/app/generic_worker.py).
_FAILS_ON_WORKERS = re.compile(r"/openid/userinfo|msc4370/extremities/")

# Registered, and raising an exception unless the process writes the stream.
_ONLY_ON_WRITER = re.compile(r"^PUT .*/typing/|^(PUT|DELETE) .*pushrules/")

_FEDERATION = ("^/_matrix/federation/", "^/_matrix/key/")


def main(paths: Sequence[str]) -> None:
    versions = [read(Path(path)) for path in paths]
    sys.stdout.write(HEAD)
    sys.stdout.write("\n".join(merged(versions)) + "\n")


def read(path: Path) -> tuple[Version, dict[Row, tuple[str, str]]]:
    """The version, and processes and condition of each of its rows."""
    content = json.loads(path.read_text())
    return parse_version(content["version"]), facts(content["configurations"])


def facts(configurations: dict[str, Any]) -> dict[Row, tuple[str, str]]:
    """Who registers a row, and when it exists."""
    found = {
        name: {process: set(map(_row, rows)) for process, rows in processes.items()}
        for name, processes in configurations.items()
    }
    everywhere = {
        row for processes in found.values() for rows in processes.values() for row in rows
    }
    return {row: (_processes(found, row), _condition(found, row)) for row in everywhere}


def _row(written: Sequence[str]) -> Row:
    method, regex = written
    return method, regex


def _processes(found: dict[str, dict[str, set[Row]]], row: Row) -> str:
    split = found["split"]
    media = row in split["media"]
    letters = ""
    if any(row in processes["main"] for processes in found.values()):
        letters += "M" if media and row not in split["main"] else "m"
    others = (name for name in found if name != "split" and not media)
    if row in split["worker"] or any(row in found[name]["worker"] for name in others):
        letters += "f" if row[1].startswith(_FEDERATION) else "c"
    if _FAILS_ON_WORKERS.search(row[1]):
        return "m"
    if _ONLY_ON_WRITER.search(" ".join(row)):
        return "ms"
    return letters + ("d" if media else "")


def _condition(found: dict[str, dict[str, set[Row]]], row: Row) -> str:
    def there(name: str) -> bool:
        return any(row in rows for rows in found.get(name, {}).values())

    if there("default"):
        return "not_mas" if "mas" in found and not there("mas") else "-"
    return "mas" if there("mas") else "experimental"


def merged(versions: list[tuple[Version, dict[Row, tuple[str, str]]]]) -> Iterator[str]:
    """One line for each row and each span of versions in which its facts are the same."""
    lines = []
    for row in sorted({row for _, rows in versions for row in rows}, key=lambda r: (r[1], r[0])):
        since: Version | None = None
        before: tuple[str, str] | None = None
        for version, rows in [*versions, (None, {})]:
            now = rows.get(row)
            if now == before:
                continue
            if before is not None:
                lines.append((row, before, since, version))
            since, before = version, now
    for (method, regex), (processes, condition), first, end in lines:
        span = f"{first or '-'!s:<6} {end or '-'!s:<6}"
        yield f"{processes:<4} {condition:<12} {span} {method:<6} {regex}"


if __name__ == "__main__":
    main(sys.argv[1:])
