"""Locations in locations, written one beside the other, so that each request finds the same one.

nginx takes the longest prefix and looks inside it first: at its own prefixes, then at its own
regexes, then at the regexes around it, unless a prefix says ``^~``. Without blocks in blocks, a
regex that stands inside a prefix is tried before all outer ones and says itself where it applies.
Must not know what a location does.
Source: ngx_http_core_find_location() in src/http/ngx_http_core_module.c, release 1.22.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from synproxy.nginx.scope import Scope
from synproxy.nginx.tree import Directive

_MODIFIED = re.compile(r"(=|\^~|~\*|~)?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Flat:
    """One location beside the others: ``kind`` and ``text`` as `location` takes them."""

    kind: str
    text: str
    scope: Scope
    nested: bool = False

    @property
    def written(self) -> str:
        return f"{self.kind} {self.text}" if self.kind else self.text


@dataclass(frozen=True, slots=True)
class _Location:
    kind: str
    text: str
    scope: Scope

    @property
    def final(self) -> bool:
        return self.kind == "^~"

    def children(self) -> list[_Location]:
        return list(_children(self.scope))


def flatten(server: Scope) -> tuple[list[Flat], list[Directive]]:
    """The locations of a server block, and those that no request finds (named ones, and such
    that a longer prefix hides)."""
    return _Flattener().run(server)


def _children(scope: Scope) -> Iterator[_Location]:
    for directive in scope.innermost.all("location"):
        if not directive.args or directive.args[0].startswith("@"):
            continue
        found = _MODIFIED.fullmatch(" ".join(directive.args))
        assert found is not None  # it takes anything
        yield _Location(found[1] or "", found[2].strip(), scope.inside(directive))


class _Flattener:
    def __init__(self) -> None:
        self._static: list[Flat] = []
        self._inner: list[Flat] = []
        self._hidden: list[Directive] = []

    def run(self, server: Scope) -> tuple[list[Flat], list[Directive]]:
        top = list(_children(server))
        static, regexes = _split(top)
        for location in static:
            siblings = _longer(location, static)
            if _regex_inside(location):
                self._top(location, siblings)
            else:
                self._plain(location, location.kind, siblings)
        outer = [flat for location in regexes for flat in self._regex(location, "")]
        self._hidden += [
            one
            for one in server.innermost.all("location")
            if one.args[:1] and "@" in one.args[0][:1]
        ]
        exact = [flat for flat in self._static if flat.kind == "="]
        prefixes = [flat for flat in self._static if flat.kind != "="]
        return [*exact, *self._inner, *outer, *prefixes], self._hidden

    def _plain(self, location: _Location, kind: str, hiding: Sequence[_Location]) -> None:
        """A location with only prefixes inside: each longest prefix wins, wherever it stands; the
        outermost says whether regexes follow."""
        self._static.append(Flat(kind, location.text, location.scope, kind != location.kind))
        for child in location.children():
            if any(child.text.startswith(other.text) for other in hiding):
                self._hidden.append(child.scope.innermost)
            elif child.kind == "=":
                self._static.append(Flat("=", child.text, child.scope, nested=True))
            else:
                self._plain(child, kind, hiding)

    def _prefix(
        self, location: _Location, siblings: Sequence[_Location], hiding: Sequence[_Location]
    ) -> list[_Location]:
        """The regexes below a prefix; returns the prefixes that stand there, itself included."""
        static, regexes = _split(location.children())
        hiding = [*hiding, *siblings]
        left: list[_Location] = []
        for child in static:
            if any(child.text.startswith(other.text) for other in hiding):
                self._hidden.append(child.scope.innermost)
            elif child.kind == "=":
                self._static.append(Flat("=", child.text, child.scope, nested=True))
            else:
                left += self._prefix(child, _longer(child, static), hiding)
        # "^~" keeps the regexes beside it from being tried, and no others.
        guard = _begins(location, [*siblings, *(child for child in static if child.final)])
        self._inner += [flat for regex in regexes for flat in self._regex(regex, guard)]
        return [*left, location]

    def _top(self, location: _Location, siblings: Sequence[_Location]) -> None:
        """A prefix of the server block with regexes somewhere below it."""
        left = self._prefix(location, siblings, ())
        for one in sorted(left, key=lambda one: -len(one.text)):
            nested = one is not location
            if not location.final:
                self._static.append(Flat("", one.text, one.scope, nested))
                continue
            # Outer regexes are not tried: these stand before them.
            longer = [other for other in left if len(other.text) > len(one.text)]
            text = "^" + _begins(one, [*siblings, *longer])
            self._inner.append(Flat("~", text, one.scope, nested=True))

    def _regex(self, location: _Location, guard: str) -> Iterator[Flat]:
        """A regex that applies where ``guard`` does, after all that stands inside it."""
        inside = guard + _holds(location)
        static, regexes = _split(location.children())
        for child in sorted(static, key=lambda one: (one.kind != "=", -len(one.text))):
            if child.kind == "=":
                text = f"^{inside}{re.escape(child.text)}$"
                yield Flat("~", text, child.scope, nested=True)
        for child in regexes:
            yield from self._regex(child, inside)
        for child in sorted(static, key=lambda one: -len(one.text)):
            if child.kind != "=":
                yield from self._regex_of_prefix(child, inside)
        if not guard:
            yield Flat(location.kind, location.text, location.scope)
        elif location.kind == "~" and location.text.startswith("^") and "|" not in location.text:
            yield Flat("~", f"^{guard}{location.text[1:]}", location.scope, nested=True)
        else:
            yield Flat("~", f"^{inside}", location.scope, nested=True)

    def _regex_of_prefix(self, location: _Location, guard: str) -> Iterator[Flat]:
        guard += _begins(location, ())
        for child in location.children():
            yield from self._regex(child, guard)
        yield Flat("~", f"^{guard}", location.scope, nested=True)


def _split(locations: Sequence[_Location]) -> tuple[list[_Location], list[_Location]]:
    static = [one for one in locations if not one.kind.startswith("~")]
    return static, [one for one in locations if one.kind.startswith("~")]


def _longer(location: _Location, siblings: Sequence[_Location]) -> list[_Location]:
    """The prefixes beside ``location`` that begin with it."""
    return [
        other
        for other in siblings
        if other.kind != "="
        and len(other.text) > len(location.text)
        and other.text.startswith(location.text)
    ]


def _regex_inside(location: _Location) -> bool:
    return any(child.kind.startswith("~") or _regex_inside(child) for child in location.children())


def _begins(location: _Location, but: Sequence[_Location]) -> str:
    """Lookaheads: the path begins with this prefix, and with none of the others."""
    others = "".join(f"(?!{re.escape(other.text)})" for other in but)
    return f"(?={re.escape(location.text)}){others}"


def _holds(location: _Location) -> str:
    """A lookahead from the beginning of the path: this regex matches somewhere."""
    flags = "i" if location.kind == "~*" else ""
    return rf"(?=[\s\S]*?(?{flags}:{location.text}))"
