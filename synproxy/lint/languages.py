"""Which paths a route and a servlet take, as automata made once.

Must not know which route wins.
"""

from __future__ import annotations

import re
from functools import cache

from synproxy.core.location_syntax import Kind, Location
from synproxy.core.regex_prefix import Alternative, alternatives
from synproxy.lint.automaton import (
    Automaton,
    UnsupportedRegexError,
    example,
    literal,
    search,
)
from synproxy.lint.subject import Subject
from synproxy.synapse.samples import realistic

_PATHS = rb"^(/|(/[^/\x00-\x20\x7f]+)+/?)$"
"""Normalised paths as clients mean them: no empty segment but the last, no control characters."""

Heads = frozenset[Alternative] | None


@cache
def paths() -> Automaton:
    return search(_PATHS)


class Languages:
    """The automata of one configuration; raises UnsupportedRegexError for what has none."""

    def __init__(self, locations: list[Location]) -> None:
        self._locations = locations
        self._routes: dict[int, Automaton | UnsupportedRegexError] = {}
        self._heads: dict[int, Heads] = {}

    def route(self, index: int) -> Automaton:
        """What the location itself matches, whoever else does."""
        found = self._routes.get(index)
        if found is None:
            try:
                found = _automaton(self._locations[index])
            except UnsupportedRegexError as error:
                found = error
            self._routes[index] = found
        if isinstance(found, UnsupportedRegexError):
            raise found
        return found

    def heads(self, index: int) -> Heads:
        """How a path of a route must begin; None: anyhow."""
        if index not in self._heads:
            location = self._locations[index]
            if location.regex is not None:
                self._heads[index] = alternatives(location.regex)
            else:
                *segments, partial = location.text.split(b"/")
                self._heads[index] = frozenset({Alternative(tuple(segments), partial)})
        return self._heads[index]


class Contest:
    """Searches paths that a route wins, among those that it shares with others."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.languages = Languages(subject.locations)

    def won(self, index: int, method: str, *shared: Automaton) -> tuple[bytes | None, list[int]]:
        """A path that the route wins, out of what all of ``shared`` accept too; without one, the
        routes that win instead. Raises UnsupportedRegexError if that cannot be told.
        """
        wanted = [paths(), self.languages.route(index), *shared]
        winners: list[int] = []
        while True:
            path = example(wanted, [self.languages.route(winner) for winner in winners])
            if path is None:
                return None, winners
            winner = self._subject.route_at(method, path)
            if winner == index:
                return path, []
            if winner is None or winner in winners or self._sometimes(winner):
                raise UnsupportedRegexError(
                    "routes depend on each other in a way not followed here"
                )
            winners.append(winner)

    def _sometimes(self, index: int) -> bool:
        """Whether a ``^~`` prefix wins only where no longer prefix lets regexes in again."""
        location = self._subject.locations[index]
        return location.kind is Kind.FINAL and any(
            other.kind is Kind.PREFIX
            and other.text.startswith(location.text)
            and other.text != location.text
            for other in self._subject.locations
        )


def _automaton(location: Location) -> Automaton:
    if location.regex is not None:
        return search(location.regex.pattern, location.regex.flags & re.IGNORECASE)
    return literal(location.text, prefix=location.kind is not Kind.EXACT)


@cache
def servlet_language(regex: str) -> Automaton:
    """The normalised paths that a servlet takes, with parameters as they really are."""
    return search(realistic(regex).encode())


@cache
def servlet_heads(regex: str) -> Heads:
    return alternatives(re.compile(realistic(regex).encode()))


def may_meet(one: Heads, other: Heads) -> bool:
    """False if no path can begin in both ways."""
    if one is None or other is None:
        return True
    return any(_agree(a, b) for a in one for b in other)


def _agree(one: Alternative, other: Alternative) -> bool:
    for mine, yours in zip(one.segments, other.segments, strict=False):
        if mine is not None and yours is not None and mine.lower() != yours.lower():
            return False
    short, long = sorted((one, other), key=lambda a: len(a.segments))
    if len(short.segments) == len(long.segments):
        a, b = short.partial.lower(), long.partial.lower()
        return a.startswith(b) or b.startswith(a)
    following = long.segments[len(short.segments)]
    return following is None or following.lower().startswith(short.partial.lower())
