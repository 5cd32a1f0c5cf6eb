"""The shared endpoint table as the oracle: which workers of the lab may serve a request.

It is read here anew, on purpose without the code of synproxy that reads it too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import yaml

from tests.support.lab import Worker
from tests.support.paths import SHARED

LOCAL = "(answer locally)"
DENIED = "(403/404 at the edge)"
SYNC = "sync_034"
"""The row of /sync, where the query decides too."""
# Workers serve it, though the table has no row for it (../shared/synapse-routing.md, 1.4).
EVENT = "^/_matrix/client/(api/v1|r0|v3|unstable)/events/[^/]+$"
# Rows whose condition does not hold in the lab, which has no single sign-on and no MAS.
ABSENT = ("sso_", "mas_", "rendezvous_")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: ``kinds`` in order of preference."""

    name: str
    regex: re.Pattern[str]
    methods: frozenset[str] | None
    kinds: tuple[str, ...]

    def matches(self, method: str, path: str) -> bool:
        if self.methods is not None and method not in self.methods:
            return False
        return self.regex.search(path) is not None


@cache
def rows() -> tuple[Row, ...]:
    table = yaml.safe_load((SHARED / "data/synapse-endpoints.yaml").read_text())
    event = Row("event", re.compile(EVENT), frozenset({"GET"}), ("client_reader", "main"))
    return event, *(
        Row(
            entry["id"],
            re.compile(entry["regex"]),
            None if entry["methods"] == "*" else frozenset(entry["methods"]),
            tuple(entry["pool"].split("|")),
        )
        for entry in table["routes"]
        if not entry["id"].startswith(ABSENT)
    )


def serving(workers: Sequence[Worker], kinds: Iterable[str]) -> tuple[str, ...]:
    """The processes for the first of ``kinds`` that somebody is for; main for want of any."""
    for kind in kinds:
        if kind in ("main", LOCAL, DENIED):
            return (kind,)
        if names := tuple(worker.name for worker in workers if kind in worker.kinds):
            return names
    return ("main",)


def expected(workers: Sequence[Worker], method: str, target: str) -> tuple[str, tuple[str, ...]]:
    """The row that a request belongs to, and who may serve it by that row.

    A row that names main beside a worker leaves the choice: not every version has it on workers.
    """
    path, _, query = target.partition("?")
    for row in rows():
        if row.matches(method, path):
            kinds = row.kinds
            if row.name == SYNC and not _has_since(query):
                kinds = tuple(reversed(kinds))
            names = serving(workers, kinds)
            return row.name, (*names, "main") if "main" in kinds else names
    return "(none)", ("main",)


def _has_since(query: str) -> bool:
    fields = dict(field.partition("=")[::2] for field in query.split("&"))
    return bool(fields.get("since")) and fields.get("full_state") != "true"
