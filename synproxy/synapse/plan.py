"""From a deployment to pools and routes: which process each endpoint is sent to.

Must not know how a configuration is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from synproxy.synapse.catalogue import Catalogue, Endpoint, Group, Kind
from synproxy.synapse.checks import check_deployment, check_reached
from synproxy.synapse.deployment import Deployment
from synproxy.synapse.processes import MAIN, Process
from synproxy.synapse.roles import GENERIC

SYNC = "sync"
"""The map that tells a first sync from a later one."""

MAS = "mas"
_FEDERATION = ("^/_matrix/federation/", "^/_matrix/key/")


@dataclass(frozen=True, slots=True)
class PlannedPool:
    """Servers that are interchangeable, and by what a request is bound to one of them."""

    name: str
    servers: tuple[str, ...]
    workers: tuple[str, ...]
    """Their names, in the same order."""
    resource: str = field(compare=False)
    key: str = ""
    fallback: str = ""
    """The pool that can serve this while no server here is up."""
    unrecognized: str = ""
    """Main's pool, which may know an endpoint that a worker does not."""
    limit: int = 0
    """Requests that one server should have at a time; 0: no limit."""


@dataclass(frozen=True, slots=True)
class PlannedRoute:
    """One endpoint and its pool; ``pool`` may be ``$sync``."""

    endpoint: Endpoint
    pool: str


@dataclass(frozen=True, slots=True)
class PlannedGroup:
    """A group of the catalogue with what becomes of its endpoints."""

    group: Group
    routes: tuple[PlannedRoute, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a configuration says about Synapse."""

    deployment: Deployment
    pools: dict[str, PlannedPool] = field(default_factory=dict)
    groups: list[PlannedGroup] = field(default_factory=list)
    prefixes: dict[str, str] = field(default_factory=dict)
    """What no endpoint takes: pools by prefix of the path."""
    sync: dict[str, str] = field(default_factory=dict)
    """``initial`` and ``later``: the pools that ``$sync`` chooses from; empty if it is one."""
    left_to_main: list[str] = field(default_factory=list)
    """Kinds that a worker could be, and none is."""


def make_plan(catalogue: Catalogue, deployment: Deployment) -> Plan:
    """Decide for every endpoint. Raises ConfigError with every mistake in Synapse's files."""
    check_deployment(catalogue, deployment)
    plan = _Planner(catalogue, deployment).plan()
    reached = {worker for pool in plan.pools.values() for worker in pool.workers}
    if deployment.main.address("client"):
        check_reached(catalogue, deployment, reached)
    if (error := deployment.error()) is not None:
        raise error
    return plan


def _pools_of(plan: Plan, name: str) -> list[str]:
    return list(plan.sync.values()) if name == f"${SYNC}" else [name]


class _Planner:
    """Builds one plan."""

    def __init__(self, catalogue: Catalogue, deployment: Deployment) -> None:
        self._catalogue = catalogue
        self._deployment = deployment
        self._plan = Plan(deployment)

    def plan(self) -> Plan:
        deployment, plan = self._deployment, self._plan
        self._main_pool("client")
        groups = self._catalogue.groups_at(deployment.version, deployment.conditions)
        for group in groups:
            routes = tuple(self._routes(group))
            if routes:
                plan.groups.append(PlannedGroup(group, routes))
        if not any(map(self._leaves_main, plan.groups)):  # so nothing need be kept there
            plan.groups[:] = [g for g in plan.groups if g.group.private or g.group.upload]
        self._prefixes()
        self._used_pools()
        return plan

    # Endpoints

    def _routes(self, group: Group) -> Iterator[PlannedRoute]:
        for endpoint in group.endpoints:
            pool = self._pool_of(group, endpoint)
            if pool is None:
                continue
            left = self._is_main(pool) and group.kind != MAIN
            if left and group.kind not in self._plan.left_to_main:
                self._plan.left_to_main.append(group.kind)
            if not left or group.private or group.upload:
                yield PlannedRoute(endpoint, pool)

    def _pool_of(self, group: Group, endpoint: Endpoint) -> str | None:
        if group.kind == MAS:
            return self._mas_pool()
        if group.kind == MAIN:
            federation = endpoint.path.startswith(_FEDERATION)
            if federation and endpoint.name == "openid_userinfo":
                return self._main_pool("federation") or self._main_pool("openid")
            return self._main_pool("federation" if federation else "client")
        pool = self._kind_pool(group.kind)
        if pool and group.without_since:
            first = self._kind_pool(group.without_since)
            if first and first != pool:
                self._plan.sync.update(initial=first, later=pool)
                return f"${SYNC}"
        return pool

    # Pools

    def _kind_pool(self, name: str) -> str | None:
        """The pool for a kind, with those that stand in behind it."""
        kind = self._catalogue.kinds[name]
        sources = [(source, self._dedicated(source)) for source in (name, *kind.otherwise)]
        if kind.generic:
            sources.append((GENERIC, self._dedicated(GENERIC)))
        chain = [
            (source, [w for w in workers if w.address(kind.resource)])
            for source, workers in sources
            if any(worker.address(kind.resource) for worker in workers)
        ]
        return self._chain_pool(chain, kind)

    def _chain_pool(self, chain: list[tuple[str, list[Process]]], kind: Kind) -> str | None:
        if not chain:
            return self._main_pool(kind.resource)
        source, workers = chain[0]
        limit = self._source(source).limit
        key = kind.key if len(workers) > 1 or limit else ""  # who waits is let in by turns of keys
        fallback = self._chain_pool(chain[1:], kind) if kind.fallback else None
        name = f"{source}_by_{key}" if key and self._source(source).key != key else source
        if kind.stream and kind.fallback and len(workers) == 1:
            name = workers[0].name  # one pool for all the streams that it writes
        main = None if kind.resource == "media" else self._main_pool(kind.resource)
        return self._add(
            PlannedPool(
                name,
                tuple(worker.address(kind.resource) for worker in workers),
                tuple(worker.name for worker in workers),
                kind.resource,
                key,
                fallback or "",
                main or "",
                limit,
            )
        )

    def _source(self, name: str) -> Kind:
        """The kind of that name; generic workers are of none."""
        return self._catalogue.kinds.get(name) or Kind()

    def _add(self, pool: PlannedPool) -> str:
        """Add a pool once; another one of its name gets a longer one."""
        wanted = [pool.name, f"{pool.name}_{pool.resource}"]
        wanted += [f"{pool.name}_{number}" for number in range(2, len(self._plan.pools) + 3)]
        for name in wanted:
            named = replace(pool, name=name)
            if self._plan.pools.setdefault(name, named) == named:
                return name
        raise AssertionError("there is a name more than there are pools")

    def _dedicated(self, kind: str) -> list[Process]:
        roles = self._deployment.roles
        return [worker for worker in self._deployment.workers if kind in roles[worker.name].kinds]

    def _main_pool(self, resource: str) -> str | None:
        """Main's pool for a resource; None if it does not have it."""
        main = self._deployment.main
        client = main.address("client")
        address = client if resource == "media" else main.address(resource)
        if not address:
            return None
        name = MAIN if address == client else f"{MAIN}_{resource}"
        return self._add(PlannedPool(name, (address,), (MAIN,), resource))

    def _leaves_main(self, planned: PlannedGroup) -> bool:
        return any(not self._is_main(route.pool) for route in planned.routes)

    def _is_main(self, pool: str) -> bool:
        return pool in self._plan.pools and self._plan.pools[pool].workers == (MAIN,)

    def _mas_pool(self) -> str | None:
        """The Matrix Authentication Service, if Synapse's configuration says where it is."""
        parts = urlsplit(self._deployment.mas_endpoint)
        if parts.scheme != "http" or parts.path not in ("", "/") or not parts.hostname:
            return None
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        address = f"{host}:{parts.port or 80}"
        return self._add(PlannedPool(MAS, (address,), (MAS,), ""))

    # The rest

    def _prefixes(self) -> None:
        federation = self._main_pool("federation")
        if federation and federation != MAIN:
            self._plan.prefixes["/_matrix/federation/"] = federation
            self._plan.prefixes["/_matrix/key/"] = federation
        self._plan.prefixes["/"] = MAIN

    def _used_pools(self) -> None:
        """Keep the pools that a route or a fallback leads to."""
        plan = self._plan
        waiting = [route.pool for group in plan.groups for route in group.routes]
        waiting = [name for pool in waiting for name in _pools_of(plan, pool)]
        waiting += plan.prefixes.values()
        used = set()
        while waiting:
            name = waiting.pop()
            if name not in used and name in plan.pools:
                used.add(name)
                waiting += [plan.pools[name].fallback, plan.pools[name].unrecognized]
        for name in [name for name in plan.pools if name not in used]:
            del plan.pools[name]
