"""Which route answers a request: nginx's choice among its locations, and the method.

Order (nginx, ``location``): the ``=`` location with this path; else the longest prefix is kept in
mind and taken at once if it is ``^~``; else the first regex of the file that matches; else the
prefix kept in mind. A route whose ``methods`` lack the request's method is as good as absent.
This module must not know what is done with a route.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from synproxy.config.model import Route
from synproxy.core.location_syntax import Kind, Location, parse_location
from synproxy.core.route_index import PrefixIndex, RegexIndex
from synproxy.core.route_trial import RouteTrial, explain

_NO_CAPTURES: Mapping[str, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """``index`` counts the configuration's routes from 0; a group that took no part is empty."""

    index: int
    captures: Mapping[str, bytes] = field(default_factory=lambda: _NO_CAPTURES)


_NOTHING = RouteMatch(-1)


def allowed_methods(methods: Sequence[str]) -> frozenset[bytes] | None:
    """The methods a route takes, None for all. GET brings HEAD, as Synapse answers both alike."""
    if not methods:
        return None
    found = {method.encode() for method in methods}
    if b"GET" in found:
        found.add(b"HEAD")
    return frozenset(found)


class _Lane:
    """The locations that exist for one method."""

    __slots__ = ("_ahead", "_exact", "_prefixes", "_regexes", "_tests")

    def __init__(
        self, locations: Sequence[tuple[int, Location]], ahead: _Ahead | None = None
    ) -> None:
        self._ahead = ahead
        exact: dict[bytes, RouteMatch] = {}
        prefixes: dict[bytes, tuple[RouteMatch, bool]] = {}
        regexes = []
        for index, location in locations:
            if location.regex is not None:
                regexes.append((index, location.regex))
            elif location.kind is Kind.EXACT:
                exact.setdefault(location.text, RouteMatch(index))
            else:
                final = location.kind is Kind.FINAL
                prefixes.setdefault(location.text, (RouteMatch(index), final))
        self._exact = exact
        self._prefixes = PrefixIndex(prefixes)
        self._regexes = RegexIndex([regex for _, regex in regexes])
        self._tests = [
            (regex.match if anchored else regex.search, bool(regex.groupindex), RouteMatch(index))
            for (index, regex), anchored in zip(regexes, self._regexes.anchored, strict=True)
        ]

    def find(self, path: bytes) -> RouteMatch:
        if self._ahead is not None:
            first = self._ahead.lane.find(path)
            if first.index in self._ahead.routes:
                return first
        exact = self._exact.get(path)
        if exact is not None:
            return exact
        chosen, final = self._prefixes.longest(path) or (_NOTHING, False)
        if final:
            return chosen
        for number in self._regexes.candidates(path):
            test, has_names, match = self._tests[number]
            found = test(path)
            if found is not None:
                if has_names:
                    return RouteMatch(match.index, found.groupdict(b""))
                return match
        return chosen


@dataclass(frozen=True, slots=True)
class _Ahead:
    """What is asked before a method's own lane: if one of ``routes`` wins there, it has won."""

    lane: _Lane
    routes: frozenset[int]


class RouteTable:
    """All routes of one configuration, compiled. Raises ValueError for a location it cannot read.

    Of two routes with the same location the first one wins (nginx refuses the second).
    ``ahead``: indexes of routes that compete, by nginx's rules, with those alone that name their
    method too. Routes for every method stand back, however close a match they are.
    """

    __slots__ = ("_lanes", "_locations", "_methods", "_other", "ahead", "routes")

    def __init__(self, routes: Sequence[Route], ahead: Collection[int] = ()) -> None:
        self.routes = tuple(routes)
        self.ahead = frozenset(ahead)
        self._locations = tuple(parse_location(route.location) for route in routes)
        self._methods = tuple(allowed_methods(route.methods) for route in routes)
        built: dict[tuple[int, ...], _Lane] = {}
        self._other = self._lane(None, built)
        mentioned = frozenset[bytes]().union(*(m for m in self._methods if m is not None))
        self._lanes = {method: self._lane(method, built) for method in mentioned}

    def _lane(self, method: bytes | None, built: dict[tuple[int, ...], _Lane]) -> _Lane:
        """The lane of ``method`` (None: of methods that no route mentions), shared if equal."""
        present = tuple(
            index
            for index, methods in enumerate(self._methods)
            if methods is None or method in methods
        )
        if present not in built:
            ahead = None
            if not self.ahead.isdisjoint(present):
                naming = [index for index in present if self._methods[index] is not None]
                ahead = _Ahead(_Lane([(i, self._locations[i]) for i in naming]), self.ahead)
            built[present] = _Lane([(i, self._locations[i]) for i in present], ahead)
        return built[present]

    @property
    def capture_names(self) -> frozenset[str]:
        """The named groups of all regexes, which templates may use."""
        return frozenset(
            name
            for location in self._locations
            if location.regex is not None
            for name in location.regex.groupindex
        )

    def match(self, path: bytes, method: bytes) -> RouteMatch | None:
        """The route for a normalised path; None: no location matches (nginx: its own 404)."""
        found = self._lanes.get(method, self._other).find(path)
        return found if found is not _NOTHING else None

    def methods(self, path: bytes) -> tuple[bytes, ...]:
        """The methods with which a path has a route, in a stable order.

        For a path that ``match`` knows nothing of: routes for every method are not looked for.
        """
        return tuple(
            method
            for method, lane in sorted(self._lanes.items())
            if lane.find(path) is not _NOTHING
        )

    def explain(self, path: bytes, method: bytes) -> list[RouteTrial]:
        """Every route in the order of evaluation: chosen, or why not."""
        chosen = self.match(path, method)
        names = (route.name for route in self.routes)
        return explain(
            list(zip(names, self._locations, self._methods, strict=True)),
            None if chosen is None else chosen.index,
            path,
            method,
        )
