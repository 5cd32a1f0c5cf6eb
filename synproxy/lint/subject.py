"""A configuration made ready for questions: its routes, where they lead, and what can answer there.

Must not know what is right or wrong.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from synproxy.config.document import Document, Path
from synproxy.config.model import Config, Route
from synproxy.config.pcre import compile_regex
from synproxy.config.variable_names import template_parts
from synproxy.core.location_syntax import Location, parse_location
from synproxy.core.routes import RouteTable, allowed_methods
from synproxy.core.target import normalise_path
from synproxy.lint.finding import Finding, Severity
from synproxy.synapse.catalogue import Catalogue, Endpoint, Group, load_catalogue
from synproxy.synapse.deployment import Deployment
from synproxy.synapse.processes import MAIN, Process
from synproxy.synapse.roles import GENERIC, kinds_in_name
from synproxy.synapse.servlets import Servlet, servlets_at
from synproxy.synapse.version import Version

MAX_POOLS = 1000
"""Combinations of map values that are followed for one route, as in config.references."""

_MAIN_NAME = re.compile(r"(^|[^a-z])(main|master|homeserver|synapse_main)([^a-z]|$)")


@dataclass(frozen=True, slots=True)
class Ability:
    """What the servers of a pool can answer."""

    kinds: frozenset[str]
    """In the words of the catalogue; ``generic`` too."""
    resources: frozenset[str]
    """Of ``main``, ``client``, ``federation``, ``media``."""
    streams: frozenset[str] = frozenset()
    """What they write."""

    @property
    def known(self) -> bool:
        return bool(self.resources)


@dataclass
class Subject:
    """One configuration, at one version of Synapse, perhaps with Synapse's own files beside it."""

    config: Config
    document: Document
    version: Version
    deployment: Deployment | None = None
    catalogue: Catalogue = field(default_factory=load_catalogue)

    @cached_property
    def routes(self) -> tuple[Route, ...]:
        return self.config.routes

    @cached_property
    def table(self) -> RouteTable:
        return RouteTable(self.routes)

    @cached_property
    def locations(self) -> list[Location]:
        return [parse_location(route.location) for route in self.routes]

    @cached_property
    def methods(self) -> list[frozenset[bytes] | None]:
        return [allowed_methods(route.methods) for route in self.routes]

    def route_of(self, method: str, path: str) -> int | None:
        """The route for a path as a client sends it."""
        return self.route_at(method, normalise_path(path.encode()))

    def route_at(self, method: str, path: bytes) -> int | None:
        """The route for a normalised path."""
        found = self.table.match(path, method.encode())
        return None if found is None else found.index

    def pools_of(self, route: int) -> tuple[str, ...]:
        """The pools that a route may lead to; none if it answers itself."""
        return self._pools[route]

    @cached_property
    def _pools(self) -> list[tuple[str, ...]]:
        return [tuple(self._expand(route.pool)) for route in self.routes]

    def _expand(self, written: str | None) -> Iterable[str]:
        if written is None:
            return ()
        choices = []
        for part, is_name in template_parts(written):
            section = self.config.maps.get(part) if is_name else None
            choices.append([*section.values.values(), section.default] if section else [part])
        names = ("".join(chosen) for chosen in itertools.product(*choices))
        found = dict.fromkeys(itertools.islice(names, MAX_POOLS))
        return [name for name in found if name in self.config.pools]

    # What can answer

    @cached_property
    def abilities(self) -> Mapping[str, Ability]:
        """By pool: from Synapse's files if they are here, else from names."""
        found = {}
        for name, pool in self.config.pools.items():
            addresses = [server.address for server in pool.servers]
            known = self._by_address(addresses)
            found[name] = known or self._by_name(name, addresses)
        return found

    def _by_address(self, addresses: Sequence[str]) -> Ability | None:
        """What all of these processes can do; None if one of them is unknown."""
        if self.deployment is None:
            return None
        processes = [self._processes.get(address) for address in addresses]
        if None in processes:
            return None
        every = [process for process in processes if process is not None]
        resources = [self._resources(process) for process in every]
        roles = self.deployment.roles
        kinds = [
            {MAIN} if process.name == MAIN else set(roles[process.name].kinds) for process in every
        ]
        streams = [
            {s for s, names in self.deployment.writers.items() if process.name in names}
            for process in every
        ]
        return Ability(
            frozenset(set[str]().union(*kinds)),
            frozenset(resources[0].intersection(*resources[1:])),
            frozenset(streams[0].intersection(*streams[1:])),
        )

    @cached_property
    def _processes(self) -> dict[str, Process]:
        assert self.deployment is not None
        processes = (self.deployment.main, *self.deployment.workers)
        return {one.address: process for process in processes for one in process.listeners}

    def _resources(self, process: Process) -> set[str]:
        if process.name == MAIN:
            return {MAIN}
        return set(process.offers & {"client", "federation", "media"})

    def _by_name(self, name: str, addresses: Sequence[str]) -> Ability:
        """What the names of a pool and its sockets promise."""
        kinds: set[str] = set()
        streams: set[str] = set()
        if name == MAIN or all(_MAIN_NAME.search(address.lower()) for address in addresses):
            return Ability(frozenset({MAIN}), frozenset({MAIN}))
        for text in (name, *(address.rpartition("/")[2] for address in addresses)):
            kinds |= set(kinds_in_name(text) or ())
            streams |= {stream for stream in self.catalogue.streams if stream in text}
            if kinds or streams:
                break
        known = self.catalogue.kinds
        resources = {known[kind].resource for kind in kinds if kind in known}
        resources |= {known[self.catalogue.streams[stream]].resource for stream in streams}
        if GENERIC in kinds:
            resources |= {"client", "federation"}
        return Ability(
            frozenset(kinds | {self.catalogue.streams[stream] for stream in streams}),
            frozenset(resources),
            frozenset(streams),
        )

    @cached_property
    def has_media_workers(self) -> bool:
        return any("media" in ability.resources for ability in self.abilities.values())

    @cached_property
    def written_by_workers(self) -> frozenset[str]:
        """The streams that some pool's servers write."""
        return frozenset().union(*(ability.streams for ability in self.abilities.values()))

    def can_answer(self, pool: str, servlet: Servlet) -> bool:
        """Whether a pool's servers answer a servlet, as far as is known."""
        ability = self.abilities[pool]
        if not ability.known:
            return True
        if "writer" in servlet.processes:
            stream = "push_rules" if "pushrules" in servlet.regex.pattern else "typing"
            if stream in self.written_by_workers:
                return stream in ability.streams
            return MAIN in ability.resources
        wanted = set(servlet.processes)
        if "main unless media" in wanted and not self.has_media_workers:
            wanted.add(MAIN)
        return bool(wanted & ability.resources)

    @cached_property
    def servlets(self) -> list[Servlet]:
        """What Synapse has at this version, with features that may be off."""
        mas = self.has_mas
        return [
            servlet
            for servlet in servlets_at(self.version)
            if servlet.condition != ("not_mas" if mas else "mas")
        ]

    @cached_property
    def has_mas(self) -> bool:
        if self.deployment is not None:
            return "mas" in self.deployment.conditions
        return "mas" in self.config.pools

    @cached_property
    def conditions(self) -> frozenset[str]:
        """Those of the catalogue that hold, or that the pools speak of."""
        if self.deployment is not None:
            return self.deployment.conditions
        found = {f"writer: {stream}" for stream in self.written_by_workers} | {"msc3575"}
        kinds = frozenset[str]().union(*(ability.kinds for ability in self.abilities.values()))
        if "sso" in kinds:
            found |= {"sso", "oidc", "saml2", "cas"}
        if self.has_mas:
            found |= {"mas", "mas_api"}
        return frozenset(found)

    @cached_property
    def endpoints(self) -> list[tuple[Group, Endpoint, re.Pattern[bytes]]]:
        """The catalogue at this version, in its order."""
        return [
            (group, endpoint, compile_regex(endpoint.path))
            for group in self.catalogue.groups_at(self.version, self.conditions)
            for endpoint in group.endpoints
        ]

    # Findings

    def finding(
        self,
        rule: str,
        severity: Severity,
        path: Path,
        what: str,
        why: str,
        hint: str = "",
        examples: Iterable[str] = (),
        *,
        at_key: bool = False,
    ) -> Finding:
        """A finding about what stands at ``path`` in the file."""
        place = self.document.place(path)
        line, column = (place.key_line, place.key_column) if at_key else (place.line, place.column)
        return Finding(
            rule, severity, self.document.file, line, column, what, why, hint, tuple(examples)
        )
