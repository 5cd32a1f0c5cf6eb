"""The endpoint catalogue: which kind of Synapse process serves which endpoint, by version.

Reads ``data/endpoints.yaml``, whose head explains every field. Must not know a deployment or how
a configuration is written.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from importlib.resources import files
from itertools import combinations
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError

from synproxy.config import document
from synproxy.config.model import Count, Flag, Section
from synproxy.config.pcre import compile_regex
from synproxy.synapse.version import Version, parse_version

FILE = "endpoints.yaml"

FEATURES = frozenset({"mas", "mas_api", "sso", "oidc", "saml2", "cas"})
"""Conditions that have a name of their own; the others are ``mscNNNN`` and ``writer: STREAM``."""

_CONDITION = re.compile(r"(not )?(?:(msc[0-9]{4})|writer: ([a-z_]+)|([a-z_0-9]+))")
_METHODS = frozenset({"GET", "POST", "PUT", "DELETE"})


def _version(value: object) -> object:
    if isinstance(value, Version):
        return value
    if not isinstance(value, str):
        raise ValueError("expected a version in the form v1.163")
    return parse_version(value)


_ParsedVersion = Annotated[Version, BeforeValidator(_version)]


class Kind(Section):
    """What a process of Synapse can be to a proxy."""

    resource: Literal["", "client", "federation", "media"] = ""
    key: Literal["", "user", "room", "origin"] = ""
    stream: str = ""
    limit: Count = 0
    single: Flag = False
    since: _ParsedVersion | None = None
    otherwise: tuple[str, ...] = Field(default=(), alias="else")
    generic: Flag = True
    fallback: Flag = True


class Endpoint(Section):
    """One regex, for some methods and some versions."""

    name: str
    path: str
    docs: str = ""
    methods: tuple[str, ...] = ()
    since: _ParsedVersion | None = None
    until: _ParsedVersion | None = None
    when: tuple[str, ...] = ()

    def exists_in(self, version: Version) -> bool:
        """Whether this version has the endpoint."""
        return (self.since is None or self.since <= version) and (
            self.until is None or version < self.until
        )

    @property
    def documented_path(self) -> str:
        """The regex as docs/workers.md writes it."""
        return self.docs or self.path


class Group(Section):
    """Endpoints that one kind serves."""

    name: str
    title: str
    kind: str
    endpoints: tuple[Endpoint, ...] = Field(min_length=1)
    private: Flag = False
    without_since: str = ""
    upload: Flag = False
    when: tuple[str, ...] = ()
    documented: Flag = True


class Refused(Section):
    """A documented regex that is not used as it is written."""

    path: str
    since: _ParsedVersion
    until: _ParsedVersion
    why: str


class Catalogue(Section):
    """All versions together; :meth:`groups_at` gives one."""

    oldest: _ParsedVersion
    verified: tuple[_ParsedVersion, ...] = Field(min_length=1)
    kinds: Mapping[str, Kind]
    groups: tuple[Group, ...]
    refused: tuple[Refused, ...] = ()

    @property
    def newest(self) -> Version:
        """The newest version that was looked at."""
        return self.verified[-1]

    @property
    def streams(self) -> dict[str, str]:
        """The kind that writes each stream with endpoints, by stream."""
        return {kind.stream: name for name, kind in self.kinds.items() if kind.stream}

    def groups_at(self, version: Version, conditions: Collection[str] | None = None) -> list[Group]:
        """The groups of one version, in order, with only the endpoints that exist there.

        ``conditions`` are those that hold (``mas``, ``writer: typing``); None keeps everything.
        Versions older than ``oldest`` are taken for it, newer than ``newest`` for that.
        """
        version = min(max(version, self.oldest), self.newest)
        found = []
        for group in self.groups:
            if conditions is not None and not _hold(group.when, conditions):
                continue
            kept = tuple(
                endpoint
                for endpoint in group.endpoints
                if endpoint.exists_in(version)
                and (conditions is None or _hold(endpoint.when, conditions))
            )
            if kept:
                found.append(group.model_copy(update={"endpoints": kept}))
        return found

    def documented_at(self, version: Version) -> set[str]:
        """Every regex that docs/workers.md of ``version`` has, as far as this catalogue knows."""
        listed = {
            endpoint.documented_path
            for group in self.groups_at(version)
            if group.documented
            for endpoint in group.endpoints
        }
        return listed | {r.path for r in self.refused if r.since <= version < r.until}


def _hold(when: Collection[str], conditions: Collection[str]) -> bool:
    return all(
        (text.removeprefix("not ") in conditions) != text.startswith("not ") for text in when
    )


@cache
def load_catalogue() -> Catalogue:
    """The catalogue that comes with synproxy."""
    text = files("synproxy.synapse").joinpath("data", FILE).read_text(encoding="utf-8")
    return parse_catalogue(text)


def parse_catalogue(text: str, file: str = FILE) -> Catalogue:
    """Read and check a catalogue.

    Raises ConfigError for YAML's traps (an unquoted 1.130 is 1.13) and ValueError with every other
    mistake.
    """
    tree = document.read(text, file)
    if tree.problems:
        raise tree.error()
    try:
        catalogue = Catalogue.model_validate(tree.value)
    except ValidationError as error:
        raise ValueError(f"{file}: {error}") from error
    if mistakes := list(_mistakes(catalogue)):
        raise ValueError(f"{file}: " + "; ".join(mistakes))
    return catalogue


def _mistakes(catalogue: Catalogue) -> Iterator[str]:
    if list(catalogue.verified) != sorted(set(catalogue.verified)):
        yield "verified: the versions do not ascend"
    for name, kind in catalogue.kinds.items():
        for other in kind.otherwise:
            if other not in catalogue.kinds:
                yield f"kind {name}: there is no kind {other}"
            elif catalogue.kinds[other].resource != kind.resource:
                yield f"kind {name}: {other} needs another listener"
    yield from _group_mistakes(catalogue)
    yield from _name_mistakes(catalogue)


def _name_mistakes(catalogue: Catalogue) -> Iterator[str]:
    entries: dict[str, list[tuple[Group, Endpoint]]] = {}
    for group in catalogue.groups:
        for endpoint in group.endpoints:
            entries.setdefault(endpoint.name, []).append((group, endpoint))
    for name, found in entries.items():
        for one, other in combinations(found, 2):
            if _meet(one[1], other[1]) and not _exclude(one, other):
                yield f"endpoint {name}: two may exist at the same time"


def _group_mistakes(catalogue: Catalogue) -> Iterator[str]:
    seen = set()
    for group in catalogue.groups:
        if group.name in seen:
            yield f"group {group.name}: it stands twice"
        seen.add(group.name)
        for kind in filter(None, (group.kind, group.without_since)):
            if kind not in catalogue.kinds:
                yield f"group {group.name}: there is no kind {kind}"
        for text in group.when:
            yield from _condition_mistakes(catalogue, group.name, text)
        for endpoint in group.endpoints:
            where = f"{group.name}.{endpoint.name}"
            for text in endpoint.when:
                yield from _condition_mistakes(catalogue, where, text)
            if not re.fullmatch(r"[a-z][a-z0-9_]*", endpoint.name):
                yield f"{where}: a name has small letters, digits and _"
            if not endpoint.path.startswith("^/"):
                yield f"{where}: the regex is not anchored"
            if not set(endpoint.methods) <= _METHODS:
                yield f"{where}: {', '.join(endpoint.methods)} are not all methods"
            if endpoint.since and endpoint.until and endpoint.since >= endpoint.until:
                yield f"{where}: it ends before it begins"
            try:
                compile_regex(endpoint.path)
            except ValueError as error:
                yield f"{where}: {error}"


def _condition_mistakes(catalogue: Catalogue, where: str, text: str) -> Iterator[str]:
    found = _CONDITION.fullmatch(text)
    if found is None or (found[4] and found[4] not in FEATURES):
        yield f"{where}: there is no condition {text!r}"
    elif found[3] and found[3] not in catalogue.streams:
        yield f"{where}: there is no stream {found[3]}"


def _meet(one: Endpoint, other: Endpoint) -> bool:
    """Whether there is a version that has both."""
    starts = [e.since for e in (one, other) if e.since]
    ends = [e.until for e in (one, other) if e.until]
    return not starts or not ends or max(starts) < min(ends)


def _exclude(one: tuple[Group, Endpoint], other: tuple[Group, Endpoint]) -> bool:
    """Whether the conditions of both can never hold together."""
    conditions = {text for group, endpoint in (one, other) for text in group.when + endpoint.when}
    return any(f"not {text}" in conditions for text in conditions)
