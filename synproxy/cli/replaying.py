"""Requests of a log put to a configuration: where each would have gone, counted.

Decides by the data path's own code and opens nothing. Must not know how the counts are shown. What
is kept is bounded by the routes of the configuration and a few examples, never by the log.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple, TypeVar

from synproxy.config.addresses import TcpAddress, parse_server
from synproxy.config.model import Config
from synproxy.config.variable_names import variable_names_in
from synproxy.core.printable import printable
from synproxy.core.redact import redact
from synproxy.errors import DownstreamError
from synproxy.explain.balance import key_template
from synproxy.explain.offline import Offline, Request, imagine, preference
from synproxy.nginx.access_log import LogFormat
from synproxy.proxy.generation import PoolTarget

EXAMPLES = 3
"""Requests that are kept of each kind."""

MAX_KINDS = 1000
"""Kinds of differences that are told apart."""

_FIELD = re.compile(r"http_([a-z0-9_]+)")


class Goal(NamedTuple):
    """What becomes of a request: it reaches ``pool``, or is answered with ``status``."""

    route: str
    pool: str
    status: int
    reason: str

    def __str__(self) -> str:
        if self.pool:
            return f"{self.route} -> {self.pool}"
        return f"{self.route or '-'} -> {self.status} ({self.reason})"


@dataclass(slots=True)
class Kind:
    """How many requests of a kind there were, and the first of them, without secrets."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str) -> None:
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(example)


class Judge:
    """One configuration that says where requests go. Raises ValueError if it cannot compile."""

    def __init__(self, config: Config, known_fields: Iterable[str]) -> None:
        self._offline = Offline(config)
        self._fields = frozenset(known_fields)
        self._targets: dict[str, PoolTarget] = self._offline.generation.targets
        self._key_known = cache(self._has_key)

    @property
    def max_header_count(self) -> int:
        return self._offline.config.http.max_header_count

    def goal(self, request: Request) -> Goal:
        """Where one request goes."""
        try:
            decision = self._offline.generation.decide(
                request.target.partition(b"?")[0], request.method
            )
        except DownstreamError as error:
            return Goal("", "", error.status, error.reason)
        route = decision.route
        if route is None:
            return Goal("", "", 404, "no route matches")
        request.captures = decision.captures
        if not all(access.permits(request.remote_addr) for access in decision.accesses):
            return Goal(route.name, "", 403, "an allowlist refuses the address")
        if route.respond is not None:
            return Goal(route.name, "", route.respond.status, "the route says so")
        target = route.choose(request)
        if target is None:
            return Goal(route.name, "", 502, "no such pool")
        return Goal(route.name, target.pool.name, 0, "")

    def effect(self, goal: Goal) -> tuple[int, frozenset[str]]:
        """What a goal means whatever routes and pools are called: a status, or these servers."""
        if not goal.pool:
            return goal.status, frozenset()
        servers = self._targets[goal.pool].pool.settings.servers
        return 0, frozenset(server.address for server in servers)

    def agrees(self, goal: Goal, address: str, request: Request) -> str:
        """``same`` if nginx's server is one that synproxy might choose too, ``other server`` if
        the key of the pool says another one, ``other pool`` if it is in none of its servers."""
        target = self._targets[goal.pool]
        while not any(_is(address, one.address) for one in target.pool.settings.servers):
            if target.fallback is None:
                return "other pool"
            target = target.fallback
        if target.pool.name != goal.pool or not self._key_known(goal.pool):
            return "same"
        key = b"" if target.key is None else target.key.render(request)
        if not key:
            return "same"
        return "same" if _is(address, preference(target.pool, key)[0]) else "other server"

    def _has_key(self, pool: str) -> bool:
        """Whether the log has all that the key of a pool is made of."""
        waiting = [key_template(self._targets[pool].pool.settings)]
        seen: set[str] = set()
        maps = self._offline.config.maps
        while waiting:
            for name in map(str.lower, variable_names_in(waiting.pop())):
                if name in seen:
                    continue
                seen.add(name)
                if name in ("synapse_user", "x_matrix_origin"):
                    return False
                if (made := maps.get(name)) is not None:
                    waiting += [made.source, made.default, *made.values.values()]
                elif name.startswith("http_") and name not in self._fields:
                    return False
        return bool(seen)


class Replay:
    """All that is counted while a log is read."""

    def __init__(self, config: Config, log_format: LogFormat, against: Config | None) -> None:
        self._format = log_format
        self._judge = Judge(config, log_format.variables)
        self._other = Judge(against, log_format.variables) if against else None
        self.shadow = "upstream_addr" in log_format.variables
        self.requests = 0
        self.bad: Kind = Kind()
        self.goals: Counter[Goal] = Counter()
        self.changed: dict[tuple[Goal, Goal], Kind] = {}
        self.agreement: Counter[str] = Counter()
        self.elsewhere: dict[tuple[Goal, str], Kind] = {}

    @property
    def different(self) -> bool:
        """Whether the two configurations, or nginx and synproxy, disagree anywhere."""
        return bool(self.changed or self.elsewhere)

    def line(self, text: str) -> None:
        """Count one line of the log."""
        values = self._format.read(text)
        written = None if values is None else _request_line(values)
        if values is None or written is None:
            self.bad.add(printable(redact(text[:200])))
            return
        self.requests += 1
        method, target = written
        example = printable(f"{method} {redact(target)}"[:200])
        try:
            request = _imagined(method, target, values, self._judge.max_header_count)
        except DownstreamError as error:
            goal = Goal("", "", error.status, error.reason)
            self.goals[goal] += 1
            if self.shadow:
                self._compare(goal, values, None, example)
            return
        goal = self._judge.goal(request)
        self.goals[goal] += 1
        if self._other is not None:
            other = self._other.goal(request)
            if self._other.effect(other) != self._judge.effect(goal):
                _kind(self.changed, (goal, other)).add(example)
        if self.shadow:
            self._compare(goal, values, request, example)

    def _compare(
        self, goal: Goal, values: Mapping[str, str], request: Request | None, example: str
    ) -> None:
        """nginx's choice by its log, and ours."""
        addresses = re.split(r", | : ", values.get("upstream_addr", ""))
        address = addresses[-1]  # the one that answered
        if not goal.pool or request is None:
            status = values.get("status", "")
            refused = goal.status >= 400 and status[:1] in ("4", "5")  # each in its own words
            alike = not address and (refused or status == str(goal.status))
            verdict = "same" if alike else "other pool"
        elif not address:
            verdict = "other pool"
        else:
            verdict = self._judge.agrees(goal, address, request)
        self.agreement[verdict] += 1
        if verdict != "same":
            said = address or f"answered {values.get('status', '-')} itself"
            _kind(self.elsewhere, (goal, said)).add(example)


K = TypeVar("K")


def _kind(kinds: dict[K, Kind], key: K) -> Kind:
    if key not in kinds and len(kinds) >= MAX_KINDS:
        key = next(iter(kinds))
    return kinds.setdefault(key, Kind())


def _request_line(values: Mapping[str, str]) -> tuple[str, str] | None:
    """Method and target; None where the line has no request."""
    if "request" in values:
        method, _, rest = values["request"].partition(" ")
        target, _, _ = rest.rpartition(" ")
        return (method, target or rest) if rest else None
    if "request_method" in values and "request_uri" in values:
        return values["request_method"], values["request_uri"]
    return None


def _imagined(method: str, target: str, values: Mapping[str, str], fields: int) -> Request:
    """The request behind a line, with the fields that the log has."""
    found = [
        (name.removeprefix("http_").replace("_", "-").encode(), value.encode("latin-1"))
        for name, value in values.items()
        if _FIELD.fullmatch(name)
    ]
    if "host" in values and "http_host" not in values:
        found.append((b"Host", values["host"].encode("latin-1")))
    return imagine(method, target, found, values.get("remote_addr", "unix:"), fields)


@cache
def _is(logged: str, configured: str) -> bool:
    """Whether nginx's ``$upstream_addr`` is this server. A name may be any address: then the port
    decides."""
    if logged == configured:
        return True
    address = parse_server(configured)
    if not isinstance(address, TcpAddress) or logged.startswith("unix:"):
        return False
    host, _, port = logged.rpartition(":")
    if port != str(address.port):
        return False
    is_name = not re.fullmatch(r"[0-9.]+|.*:.*", address.host)
    return is_name or host.strip("[]") == address.host
