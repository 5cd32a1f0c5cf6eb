"""What a deployment of Synapse is, as far as a proxy cares: processes, roles, writers, conditions.

Reads the settings and reports every mistake in them at its place. Must not know routes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synproxy.config.wording import did_you_mean, one_of, quoted
from synproxy.errors import ConfigError, Problem
from synproxy.synapse.catalogue import Catalogue
from synproxy.synapse.files import SynapseFiles, read_files
from synproxy.synapse.node import Node, Settings
from synproxy.synapse.processes import MAIN, MASTER, Process, natural, read_processes
from synproxy.synapse.roles import Role, roles
from synproxy.synapse.version import Version

MAX_REQUEST_SIZE = 200 * 65536
"""Bytes of a body that Synapse takes outside media (synapse/app/_base.py)."""

DEFAULT_UPLOAD = "50M"
"""Synapse's max_upload_size (synapse/config/repository.py)."""

_ON_BY_DEFAULT = frozenset({"msc3575"})
_FEATURE = re.compile(r"(msc[0-9]{4})(?:_enabled)?")
_SIZE = re.compile(r"([0-9]{1,15}) *([KMGT]?)")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_EVENTS = "events"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One homeserver with its workers."""

    files: SynapseFiles
    version: Version
    server_name: str
    main: Process
    workers: tuple[Process, ...]
    roles: Mapping[str, Role]
    writers: Mapping[str, tuple[str, ...]]
    """The workers that write each stream; streams that main writes are not in it."""
    conditions: frozenset[str]
    """Those that hold, in the words of the catalogue."""
    public_baseurl: str = ""
    max_upload_size: int = 50 << 20
    mas_endpoint: str = ""
    media_worker: bool = False
    misnamed_writers: bool = False
    """Whether stream_writers names somebody who does not exist."""

    @property
    def settings(self) -> Settings:
        return self.main.settings

    def error(self) -> ConfigError | None:
        """Every mistake noted in the files so far; None if there is none."""
        found: list[Problem] = []
        for document in self.files.all:
            found += document.error().problems
        return ConfigError(found) if found else None


def read_deployment(
    catalogue: Catalogue,
    paths: Sequence[Path | str],
    version: Version | None = None,
    assigned: Mapping[str, tuple[str, ...]] | None = None,
) -> Deployment:
    """Read Synapse's files.

    ``version`` of Synapse (default: the newest known); ``assigned``: kinds by worker that take the
    place of those that names speak of. Raises ConfigError for what leaves nothing to read; other
    mistakes are noted, see :meth:`Deployment.error`.
    """
    files = read_files(paths)
    version = version or catalogue.newest
    main, workers = read_processes(files.shared, files.workers)
    settings = main.settings
    writers, misnamed = _writers(catalogue, settings, workers, version)
    conditions = frozenset(_conditions(settings)) | {f"writer: {stream}" for stream in writers}
    _check_assigned(assigned or {}, workers)
    found = roles(catalogue, workers, writers, assigned or {})
    media_worker = any("media_repository" in role.kinds for role in found.values())
    name = settings.text("server_name")
    if name is None:
        settings.root.report_key('"server_name" is missing', "Synapse does not start without")
    return Deployment(
        files,
        version,
        name or "",
        main,
        tuple(workers),
        found,
        writers,
        conditions,
        settings.text("public_baseurl") or "",
        _upload_size(settings),
        _mas_endpoint(settings, conditions),
        media_worker,
        misnamed,
    )


def _writers(
    catalogue: Catalogue, settings: Settings, workers: Sequence[Process], version: Version
) -> tuple[dict[str, tuple[str, ...]], bool]:
    """Who writes each stream, and whether somebody is named who does not exist."""
    found: dict[str, tuple[str, ...]] = {}
    misnamed = False
    node = settings.get("stream_writers")
    names = {worker.name: worker for worker in workers}
    instances = settings.get("instance_map")
    streams = catalogue.streams
    for stream, value in node.members() if node else ():
        if stream != _EVENTS and stream not in streams:
            hint = did_you_mean(stream, (*streams, _EVENTS))
            value.report_key(f"Synapse has no stream {quoted(stream)}", hint)
            continue
        kind = catalogue.kinds.get(streams.get(stream, ""))
        if kind is not None and kind.since is not None and version < kind.since:
            hint = f"{kind.since} is the first that has"
            value.report_key(f"Synapse {version} has no stream {quoted(stream)}", hint)
        listed = value.names()
        if kind is not None and kind.single and len(listed) > 1:
            message = f"the stream {quoted(stream)} can have one writer only"
            listed[1][1].report(message, f"{quoted(listed[0][0])} writes it already")
        for name, place in listed:
            if name == MASTER:
                continue
            if name not in names:
                misnamed = True
                _report_unknown(place, name, names)
            elif instances is None or instances.get(name) is None:
                message = f"{quoted(name)} writes a stream and is missing in instance_map"
                place.report(message, "the other processes would not find it")
        chosen = tuple(name for name, _ in listed if name in names)
        if chosen:
            found[stream] = chosen
    return found, misnamed


def _check_assigned(assigned: Mapping[str, tuple[str, ...]], workers: Sequence[Process]) -> None:
    """Raise ConfigError for workers that do not exist."""
    names = [worker.name for worker in workers]
    problems = [
        Problem(f"--assign {name}", 0, 0, f"no worker is named {quoted(name)}", _hint(name, names))
        for name in assigned
        if name not in names
    ]
    if problems:
        raise ConfigError(problems)


def _hint(name: str, names: Sequence[str]) -> str:
    if not names:
        return "name the workers' files too"
    return did_you_mean(name, names) or f"there is {one_of(sorted(names, key=natural))}"


def _report_unknown(place: Node, name: str, names: Mapping[str, Process]) -> None:
    hint = _hint(name, list(names))
    if name == MAIN:
        hint = f"main is called {quoted(MASTER)} here"
    place.report(f"no worker is named {quoted(name)}", hint)


def _conditions(settings: Settings) -> Iterator[str]:
    features = settings.get("experimental_features")
    off = set()
    for key, value in features.members() if features else ():
        if (found := _FEATURE.fullmatch(key)) is None:
            continue
        inner = value.get("enabled")
        enabled = value.value is True or (inner is not None and inner.flag())
        if enabled:
            yield found[1]
        else:
            off.add(found[1])
        if enabled and found[1] == "msc3861":
            yield "mas"
    yield from _ON_BY_DEFAULT - off
    mas = settings.get("matrix_authentication_service")
    if mas is not None and (enabled_node := mas.get("enabled")) and enabled_node.flag():
        yield from ("mas", "mas_api")
    sso = {name for name, key, default in _SSO if _enabled(settings.get(key), default)}
    yield from sso
    if sso:
        yield "sso"


_SSO = (
    ("oidc", "oidc_providers", True),
    ("oidc", "oidc_config", False),
    ("saml2", "saml2_config", True),
    ("cas", "cas_config", True),
)


def _enabled(node: Node | None, default: bool) -> bool:
    """Whether a section is there and not switched off."""
    if node is None or not node.value:
        return False
    if isinstance(node.value, list):
        return True
    if not node.mapping():
        return False
    enabled = node.get("enabled")
    return default if enabled is None else enabled.flag()


def _mas_endpoint(settings: Settings, conditions: frozenset[str]) -> str:
    """Where Synapse asks MAS: matrix_authentication_service.endpoint."""
    if "mas_api" not in conditions:
        return ""
    mas = settings.get("matrix_authentication_service")
    node = mas.get("endpoint") if mas else None
    return (node.text() if node else None) or "http://localhost:8080/"


def _upload_size(settings: Settings) -> int:
    """max_upload_size in bytes."""
    node = settings.get("max_upload_size")
    value = DEFAULT_UPLOAD if node is None else node.value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _SIZE.fullmatch(value.strip().upper()) if isinstance(value, str) else None
    if found is None:
        assert node is not None
        text = node.document.place(node.path).text or ""
        node.report(f"max_upload_size: expected a size such as 50M, got {quoted(text)}")
        return 0
    return int(found[1]) * _UNITS[found[2]]
