"""Synapse's configuration files: found, read, and told apart by what is in them.

Must not know what a setting means.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from synproxy.config import document as yaml_document
from synproxy.config.document import Document
from synproxy.config.loader import read_text
from synproxy.errors import ConfigError, Problem

MAX_FILES = 2000
"""Files that are read at most; a directory that has more is the wrong one."""


@dataclass(frozen=True, slots=True)
class SynapseFiles:
    """The files of one deployment, in the order in which Synapse would read them."""

    shared: tuple[Document, ...]
    """homeserver.yaml and whatever main and the workers read besides it."""
    workers: tuple[Document, ...]
    """One file for each worker."""
    skipped: tuple[str, ...]
    """Files of a directory that configure something else (logging, application services)."""

    @property
    def all(self) -> tuple[Document, ...]:
        return (*self.shared, *self.workers)


def read_files(paths: Sequence[Path | str]) -> SynapseFiles:
    """Read files, and the ``*.yaml`` of directories in the order of their names, as Synapse does.

    Raises ConfigError with every file that cannot be read and every mistake in YAML.
    """
    problems: list[Problem] = []
    shared: list[Document] = []
    workers: list[Document] = []
    skipped: list[str] = []
    for path, listed in _expand(paths, problems):
        try:
            document = yaml_document.read(read_text(path), str(path), foreign=True)
        except ConfigError as error:
            problems += error.problems
            continue
        problems += document.problems.values()
        kind = _kind(document.value)
        if kind == "worker":
            workers.append(document)
        elif kind == "shared":
            shared.append(document)
        elif listed:
            skipped.append(document.file)
        else:
            problems.append(Problem(document.file, 1, 1, f"this is {kind}"))
    if not shared and not problems:
        missing = "none of these files is homeserver.yaml: one must have server_name"
        problems.append(Problem(str(paths[0]), 1, 1, missing))
    if problems:
        raise ConfigError(problems)
    return SynapseFiles(tuple(shared), tuple(workers), tuple(skipped))


def _expand(paths: Iterable[Path | str], problems: list[Problem]) -> Iterable[tuple[Path, bool]]:
    """Each file once, and whether it was found in a directory."""
    found: dict[Path, bool] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            found[path] = False
            continue
        try:
            inside = sorted(entry for entry in path.iterdir() if entry.suffix == ".yaml")
        except OSError as error:
            reason = f"the directory cannot be read: {error.strerror}"
            problems.append(Problem(str(path), 1, 1, reason))
            continue
        if not inside:
            problems.append(Problem(str(path), 1, 1, "there is no *.yaml in this directory"))
        for entry in inside:
            found.setdefault(entry, True)
    if len(found) > MAX_FILES:
        problems.append(Problem(str(paths), 1, 1, f"more than {MAX_FILES} files"))
        return []
    return found.items()


def _kind(value: object) -> str:
    """``worker``, ``shared``, or what else it is, in words."""
    if not isinstance(value, dict):
        return "no configuration of Synapse: expected a mapping"
    keys = value.keys()
    if keys & {"worker_name", "worker_listeners"} or (
        value.get("worker_app", "synapse.app.homeserver") != "synapse.app.homeserver"
    ):
        return "worker"
    if "server_name" in keys:
        return "shared"
    if "version" in keys and keys & {"handlers", "loggers", "root", "formatters"}:
        return "a logging configuration"
    if {"as_token", "hs_token"} <= keys:
        return "the registration of an application service"
    if {"listeners", "routes"} <= keys:
        return "a configuration of synproxy"
    return "shared"
