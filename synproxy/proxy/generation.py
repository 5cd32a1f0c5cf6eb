"""A loaded configuration, compiled: everything an exchange needs to decide where it goes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from synproxy import __version__
from synproxy.config.model import HashBalance, Respond, Route
from synproxy.core.allowlist import Access
from synproxy.core.client_address import ClientAddresses
from synproxy.core.compression import Compression
from synproxy.core.deadline import wait_parameter, waiting
from synproxy.core.forward import HeadPlan
from synproxy.core.guard import Guard
from synproxy.core.memo import Memo
from synproxy.core.names import expand
from synproxy.core.response import ALWAYS_HIDDEN
from synproxy.core.routes import RouteTable
from synproxy.core.target import normalise_path
from synproxy.core.user_key import Owners, UserKeys
from synproxy.core.variables import Scope, Template, Variables
from synproxy.proxy.answers import LocalAnswer, answer_for, cors_for
from synproxy.proxy.edge import edge_routes
from synproxy.proxy.ids import RequestIds
from synproxy.upstream.connection import AttemptRules
from synproxy.upstream.pool import ServerPool
from synproxy.upstream.whoami import Whoami
from synproxy.wire import coding
from synproxy.wire.response_reader import ResponseReader

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from synproxy.config.model import Config, Http, Maintenance, ProxySettings
    from synproxy.core.names import Known
    from synproxy.core.variables import RequestView
    from synproxy.core.wheel import TimerWheel
    from synproxy.upstream.watch import Watches


_DEADLINES: Final = 256
_DECISIONS: Final = 4096
_DECISION_KEY_LIMIT: Final = 512
"""Bytes of path and method; longer ones are decided every time."""
_HEALTH: Final = b"/health"
"""What load balancers and monitors ask."""
_new_tuple: Final = tuple.__new__
_NO_CAPTURES: Final[Mapping[str, bytes]] = MappingProxyType({})


class PoolTarget:
    """A pool with the key by which its server is chosen."""

    __slots__ = ("fallback", "key", "pool", "unrecognized")

    def __init__(self, pool: ServerPool, variables: Variables) -> None:
        self.pool = pool
        balance = pool.settings.balance
        self.key: Template | None = (
            variables.template(balance.hash) if isinstance(balance, HashBalance) else None
        )
        self.fallback: PoolTarget | None = None
        """Takes over while no server of the pool is usable."""
        self.unrecognized: PoolTarget | None = None
        """Is asked again what a server of the pool does not know."""


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRoute:
    """One route with its settings resolved. Equal to itself only, so that its hash costs nothing:
    requests are counted by it."""

    name: str
    route: Route
    settings: ProxySettings
    plan: HeadPlan
    access: Access | None
    max_body: int  # bytes; 0: no limit
    respond: LocalAnswer | None
    rules: AttemptRules
    deadlines: Deadlines | None
    """Where the query of a request has a say in its read timeout."""
    next_upstream: frozenset[str]
    target: PoolTarget | None
    """The pool when it is always the same."""
    pool_name: Template | None
    targets: Mapping[bytes, PoolTarget]

    def choose(self, view: RequestView) -> PoolTarget | None:
        """The pool for a request; None if the template names none that exists."""
        if self.target is not None:
            return self.target
        if self.pool_name is None:
            return None
        return self.targets.get(self.pool_name.render(view))


class Deadlines:
    """The rules of a route for requests that say how long they wait (``deadline_margin``)."""

    __slots__ = ("_known", "_margin", "_plain")

    def __init__(self, plain: AttemptRules, margin: float) -> None:
        self._plain = plain
        self._margin = margin
        self._known: Memo[bytes, AttemptRules] = Memo(_DEADLINES)

    def rules(self, method: bytes, target: bytes) -> AttemptRules:
        """The rules for one request; clients ask for few different waits, so they share them."""
        value = wait_parameter(method, target)
        if not value:
            return self._plain
        return self._known.get(value) or self._known.recall(value) or self._make(value)

    def _make(self, value: bytes) -> AttemptRules:
        plain = self._plain
        rules = AttemptRules(plain.reader, waiting(value, self._margin), plain.send_timeout)
        self._known.store(value, rules)
        return rules


class Decision(NamedTuple):
    """What follows from the path and the method of a request."""

    path: bytes
    """Normalised (nginx ``$uri``)."""
    route: CompiledRoute | None
    captures: Mapping[str, bytes]
    accesses: tuple[Access, ...]
    """All of them must permit the client (docs/adr/0003)."""


class Generation:
    """Compiled from one :class:`Config`; replaced as a whole on reload.

    ``previous``: the generation whose place it takes, and whose knowledge of tokens it keeps.
    ``look_up``: whether Synapse may be asked whose a token is.
    ``known_names``: what DNS says of the names in pools, as far as is known.
    """

    __slots__ = (
        "_accesses",
        "_maintenance",
        "_nowhere",
        "_whoami",
        "addresses",
        "compression",
        "config",
        "decisions",
        "guard",
        "http",
        "ids",
        "pools",
        "routes",
        "server_line",
        "table",
        "targets",
        "users",
        "variables",
    )

    def __init__(
        self,
        config: Config,
        wheel: TimerWheel,
        previous: Generation | None = None,
        *,
        look_up: bool = True,
        known_names: Known = MappingProxyType({}),
    ) -> None:
        self.config = config
        self.http: Http = config.http
        self.ids: RequestIds | None = None
        """How requests are identified; None: not, unless a template asks for it."""
        if config.http.request_id is not None:
            self.ids = RequestIds(config.http.request_id, config.allowlists)
        trusted = config.http.trusted_proxies
        self.addresses: ClientAddresses | None = ClientAddresses(trusted) if trusted else None
        codings = _codings(config.http)
        self.compression = Compression(config.http.gzip, codings) if codings else None
        edge = list(edge_routes(config))
        written = len(config.routes)
        self.table = RouteTable(
            [*config.routes, *(implied.route for implied in edge)],
            ahead=[written + number for number, implied in enumerate(edge) if implied.ahead],
        )
        self.pools = {
            name: ServerPool(name, expand(settings, known_names), wheel)
            for name, settings in config.pools.items()
        }
        known = previous.users.owners if previous is not None else None
        self._whoami: Whoami | None = None
        self.users: UserKeys = self._user_keys(config, wheel, known) if look_up else UserKeys()
        self.variables = variables = Variables(config.maps, self.table.capture_names, self.users)
        self.targets = {name: PoolTarget(pool, variables) for name, pool in self.pools.items()}
        for target in self.targets.values():
            target.fallback = self.targets.get(target.pool.settings.fallback or "")
            target.unrecognized = self.targets.get(target.pool.settings.unrecognized or "")
        targets = {name.encode(): target for name, target in self.targets.items()}
        self.server_line = (
            b"Server: synproxy/%b\r\n" % __version__.encode()
            if config.http.server_tokens
            else b"Server: synproxy\r\n"
        )
        reader = cache(partial(ResponseReader, server_line=self.server_line))
        self.routes = [
            _compile(route, config, variables, targets, reader) for route in self.table.routes
        ]
        for number, implied in enumerate(edge, start=written):
            self.routes[number] = replace(self.routes[number], respond=implied.answer)
        nowhere = Route(name="", location="/", respond=Respond(status=405))
        self._nowhere = _compile(nowhere, config, variables, targets, reader)
        self._accesses: list[tuple[Access, ...]] = [
            () if route.access is None else (route.access,) for route in self.routes
        ]
        self.guard = Guard(
            self.table, [index for index, route in enumerate(self.routes) if route.access]
        )
        self.decisions: Memo[tuple[bytes, bytes], Decision] = Memo(_DECISIONS)
        """What :meth:`decide` gave lately for a raw path and a method."""
        self._maintenance: Maintenance | None = None

    def intervene(self, drained: Container[str], maintenance: Maintenance | None) -> None:
        """Give servers with these addresses no new requests, and answer what would be forwarded
        as ``maintenance`` says; None: forward it."""
        for pool in self.pools.values():
            for index, server in enumerate(pool.settings.servers):
                pool.drain(index, server.address in drained)
        if maintenance != self._maintenance:
            self._maintenance = maintenance
            self.decisions = Memo(_DECISIONS)

    def closed(self, route: CompiledRoute | None, path: bytes) -> bool:
        """Whether maintenance keeps requests away: from all servers, but for what operators need,
        which are ``/health`` and the routes that have allowlists."""
        return (
            self._maintenance is not None
            and route is not None
            and route.respond is None
            and route.access is None
            and path != _HEALTH
        )

    def _during_maintenance(self, decision: Decision, method: bytes) -> Decision:
        maintenance, route, path = self._maintenance, decision.route, decision.path
        if maintenance is None or route is None or not self.closed(route, path):
            return decision
        cors = cors_for(path)
        if method == b"OPTIONS":  # without a good preflight browsers hide the reason from clients
            answer = answer_for(204, cors=cors)
        else:
            error, retry_after = maintenance.error, maintenance.retry_after
            answer = answer_for(503, error=error, retry_after=retry_after, cors=cors)
        return decision._replace(route=replace(route, respond=answer))

    def _user_keys(self, config: Config, wheel: TimerWheel, known: Owners | None) -> UserKeys:
        settings = config.synapse
        if settings.whoami is None:
            return UserKeys()
        owners = Owners(settings.whoami_entries, settings.whoami_ttl, wheel)
        if known is not None and (known.entries, known.ttl) == (owners.entries, owners.ttl):
            owners = known  # without it a reload would move users to other workers for a moment
        self._whoami = Whoami(self.pools[settings.whoami], owners.learn)
        return UserKeys(owners, self._whoami.ask)

    def decide(self, raw_path: bytes, method: bytes) -> Decision:
        """Where a request goes, and whose allowlists must permit it.

        :raises DownstreamError: 400, for a path that nginx refuses too.
        """
        key = (raw_path, method)
        decision = self.decisions.get(key) or self.decisions.recall(key)
        if decision is None:
            path = normalise_path(raw_path)
            match = self.table.match(path, method)
            if match is None:
                decision = Decision(path, self._unrouted(path), _NO_CAPTURES, ())
            else:
                accesses = self._accesses[match.index]
                for index in self.guard.guards(raw_path, method):
                    accesses += self._accesses[index]
                decision = _new_tuple(
                    Decision, (path, self.routes[match.index], match.captures, accesses)
                )
            if self._maintenance is not None:
                decision = self._during_maintenance(decision, method)
            if len(raw_path) + len(method) <= _DECISION_KEY_LIMIT:
                self.decisions.store(key, decision)
        return decision

    def _unrouted(self, path: bytes) -> CompiledRoute | None:
        """405 for a path that has routes with other methods; None: 404."""
        methods = self.table.methods(path)
        if not methods:
            return None
        respond = answer_for(405, allow=b", ".join(methods), cors=cors_for(path))
        return replace(self._nowhere, respond=respond)

    def resolve(self, known: Known, watches: Watches) -> None:
        """Servers behind names are others: pools with other servers take the places of these."""
        for name, pool in list(self.pools.items()):
            settings = expand(self.config.pools[name], known)
            if settings.servers == pool.settings.servers:
                continue
            other = ServerPool(name, settings, pool.wheel)
            other.take_over(pool)
            self.pools[name] = self.targets[name].pool = other
            if self._whoami is not None and name == self.config.synapse.whoami:
                self._whoami.use(other)
            other.watch(watches)
            pool.retire()

    def watch(self, watches: Watches) -> None:
        """Begin to serve: watch the servers of pools that want it."""
        for pool in self.pools.values():
            pool.watch(watches)

    def take_over(self, old: Generation) -> None:
        """Keep the idle connections to servers that the old generation had in the same pool."""
        for name, pool in self.pools.items():
            if (before := old.pools.get(name)) is not None:
                pool.take_over(before)

    def retire(self) -> None:
        """Another generation has taken over: keep no idle connections."""
        for pool in self.pools.values():
            pool.retire()


def _codings(http: Http) -> list[tuple[bytes, coding.MakeEncoder]]:
    """What is turned on, the densest first."""
    codings: list[tuple[bytes, coding.MakeEncoder]] = []
    if http.zstd.enabled:
        codings.append((b"zstd", coding.zstd(http.zstd.comp_level)))
    if http.brotli.enabled:
        codings.append((b"br", coding.brotli(http.brotli.comp_level)))
    if http.gzip.enabled:
        codings.append((b"gzip", coding.gzip(http.gzip.comp_level)))
    return codings


def _compile(
    route: Route,
    config: Config,
    variables: Variables,
    targets: Mapping[bytes, PoolTarget],
    reader: Callable[[frozenset[bytes]], ResponseReader],
) -> CompiledRoute:
    settings = config.proxy.model_copy(
        update={
            name: getattr(route.proxy, name)
            for name in route.proxy.model_fields_set
            if getattr(route.proxy, name) is not None
        }
    )
    max_body = settings.client_max_body_size
    if max_body is None:
        max_body = config.http.client_max_body_size
    target = None
    pool_name = None
    if route.pool is not None:
        pool_name = variables.template(route.pool)
        if pool_name.scope is Scope.CONSTANT:
            target = targets[route.pool.encode()]
    lists = [(name, config.allowlists[name]) for name in route.allowlists]
    # nginx hides the server's own Server and Date and writes its own; we keep Date, which is
    # the origin's to set (RFC 9110 section 6.6.1).
    rules = AttemptRules(
        reader(
            ALWAYS_HIDDEN
            | {b"server"}
            | {name.lower().encode() for name in (*settings.hide_header, *_our_own(config.http))}
        ),
        settings.read_timeout,
        settings.send_timeout,
    )
    return CompiledRoute(
        name=route.name,
        route=route,
        settings=settings,
        plan=HeadPlan(_set_header(settings, config.http), variables),
        access=Access(lists, route.satisfy) if lists else None,
        max_body=max_body,
        respond=_respond(route, config.maintenance),
        rules=rules,
        deadlines=Deadlines(rules, margin) if (margin := settings.deadline_margin) else None,
        next_upstream=frozenset(settings.next_upstream),
        target=target,
        pool_name=pool_name,
        targets=targets,
    )


def _our_own(http: Http) -> list[str]:
    """Fields of an answer that are ours to send, so that there is one of each."""
    ids = http.request_id
    return [ids.header] if ids is not None and ids.respond else []


def _set_header(settings: ProxySettings, http: Http) -> dict[str, str]:
    """What the route sets, and the request's id if it does not set that itself."""
    fields = dict(settings.set_header)
    if http.request_id is not None:
        name = http.request_id.header
        if name.lower() not in map(str.lower, fields):
            fields[name] = "$request_id"
    return fields


def _respond(route: Route, maintenance: Maintenance) -> LocalAnswer | None:
    """The answer of a route that is not forwarded, or not now."""
    if route.maintenance:
        return answer_for(503, error=maintenance.error, retry_after=maintenance.retry_after)
    written = route.respond
    if written is None:
        return None
    return answer_for(
        written.status, written.errcode, written.error, retry_after=written.retry_after
    )
