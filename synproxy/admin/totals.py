"""Sums the snapshots of children, those included that have ended: a counter never falls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Labels = tuple[str, ...]
Cells = dict[Labels, list[float]]


class Totals:
    """All children since the start. What one counts after its last snapshot is lost with it."""

    def __init__(self) -> None:
        self._last: dict[int, dict[str, Any]] = {}
        """What each child, by process number, has counted."""
        self._ended: list[dict[str, Any]] = []
        self.now: dict[str, dict[Labels, float]] = {}
        self.servers: dict[tuple[str, str], dict[str, Any]] = {}
        """By pool and address: the worst that any child thinks of a server."""
        self.errors: dict[str, list[dict[str, Any]]] = {}
        self.tls: list[dict[str, Any]] = []
        """Of listeners: handshakes since they were configured so, and certificates."""

    def update(self, snapshots: Iterable[dict[str, Any]]) -> None:
        """The serving children's latest."""
        snapshots = list(snapshots)
        for each in snapshots:
            self._last[each["pid"]] = {"counts": each["counts"], "cells": each["cells"]}
        serving = {each["pid"] for each in snapshots}
        gone = [self._last.pop(pid) for pid in list(self._last) if pid not in serving]
        if gone:
            self._ended = [_merged([*self._ended, *gone])]
        self.now, self.servers, self.errors = {}, {}, {}
        for each in snapshots:
            for name, entries in each["now"].items():
                values = self.now.setdefault(name, {})
                for labels, value in entries:
                    values[tuple(labels)] = values.get(tuple(labels), 0) + value
            for server in each["servers"]:
                known = self.servers.setdefault((server["pool"], server["server"]), server)
                if server["status"] > known["status"]:
                    self.servers[server["pool"], server["server"]] = server
            for fault, errors in each["errors"].items():
                self.errors.setdefault(fault, []).extend(errors)
        self.tls = [one for each in snapshots for one in each["tls"]]
        for errors in self.errors.values():
            errors.sort(key=lambda error: error["time"])

    def counted(self) -> dict[str, dict[str, dict[Labels, Any]]]:
        """``counts`` and ``cells`` as dicts by labels."""
        merged = _merged([*self._ended, *self._last.values()])
        return {
            kind: {
                name: {tuple(labels): value for labels, value in entries}
                for name, entries in merged[kind].items()
            }
            for kind in ("counts", "cells")
        }


def _merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    sums: dict[str, dict[str, dict[Labels, Any]]] = {"counts": {}, "cells": {}}
    for part in parts:
        for kind, names in sums.items():
            for name, entries in part[kind].items():
                values = names.setdefault(name, {})
                for labels, value in entries:
                    key = tuple(labels)
                    if key not in values:
                        values[key] = value
                    elif kind == "counts":
                        values[key] += value
                    else:
                        values[key] = [a + b for a, b in zip(values[key], value, strict=True)]
    return {
        kind: {name: [[list(k), v] for k, v in values.items()] for name, values in names.items()}
        for kind, names in sums.items()
    }
