"""What each process of Synapse really registers, by version: the ground truth behind the catalogue.

Reads ``data/servlets.txt``. Must not know routes or what is documented.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from synproxy.synapse.version import Version, parse_version

FILE = "servlets.txt"

HEAD = """\
# What each process of Synapse registers, made by tests/support/merge_servlets.py.
#
# processes: m main, M main unless a worker serves media, c a worker with the resource client,
#   f one with federation, d one with media, s the worker that writes the stream. Left out is what a
#   process registers and then always fails to answer.
# condition: - always; mas, not_mas: with (without) the Matrix Authentication Service;
#   experimental: with an experimental feature.
# versions: the first with this line, and the first after it without; - for none.
#
# processes, condition, since, until, method, regex
"""


@dataclass(frozen=True, slots=True)
class Servlet:
    """A method and a regex that some processes answer; it is matched with the raw path."""

    method: str
    regex: re.Pattern[str]
    processes: frozenset[str]
    """Of ``main``, ``client``, ``federation``, ``media``, ``writer`` and ``main unless media``,
    which is main until a worker serves media."""
    condition: str
    """Empty: always; ``mas``, ``not_mas`` or ``experimental``."""
    since: Version | None
    until: Version | None

    @property
    def facts(self) -> tuple[str, str, str, str]:
        """Processes, condition, method and regex as the file writes them."""
        letters = "".join(c for c, name in _PROCESSES.items() if name in self.processes)
        return letters, self.condition or "-", self.method, self.regex.pattern


_PROCESSES = {
    "m": "main",
    "M": "main unless media",
    "c": "client",
    "f": "federation",
    "d": "media",
    "s": "writer",
}


@cache
def all_servlets() -> tuple[Servlet, ...]:
    """Every line of the data."""
    text = files("synproxy.synapse").joinpath("data", FILE).read_text(encoding="utf-8")
    return tuple(_read(line) for line in text.splitlines() if line and not line.startswith("#"))


def _read(line: str) -> Servlet:
    processes, condition, since, until, method, regex = line.split(maxsplit=5)
    return Servlet(
        method,
        re.compile(regex),
        frozenset(_PROCESSES[letter] for letter in processes),
        "" if condition == "-" else condition,
        None if since == "-" else parse_version(since),
        None if until == "-" else parse_version(until),
    )


def enumerated_versions() -> list[Version]:
    """The versions that were looked at, as far as something changed in them."""
    found = {v for servlet in all_servlets() for v in (servlet.since, servlet.until) if v}
    return sorted(found)


def servlets_at(version: Version) -> list[Servlet]:
    """The servlets of a version, or of the last one before it that was enumerated.

    A version older than all of them is taken for the oldest.
    """
    version = max(version, enumerated_versions()[0])
    return [
        servlet
        for servlet in all_servlets()
        if (servlet.since is None or servlet.since <= version)
        and (servlet.until is None or version < servlet.until)
    ]
