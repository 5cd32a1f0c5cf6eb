"""Finds the few prefixes and regexes that can concern a path, at a cost that does not grow with
their number. This module must not know locations, methods or requests.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from synproxy.core.regex_prefix import alternatives, last_segments

V = TypeVar("V")

PLACES = 4096  # of a tree; where more would be needed, all regexes are tried (200 make about 700)


class PrefixIndex(Generic[V]):
    """The longest of many prefixes that a text begins with.

    In sorted order every key between the wanted prefix P and the text begins with P, so P is found
    on the chain of prefixes of the last key that is not greater than the text.
    """

    __slots__ = ("_keys", "_parents", "_values")

    def __init__(self, entries: Mapping[bytes, V]) -> None:
        self._keys = sorted(entries)
        self._values = [entries[key] for key in self._keys]
        self._parents: list[int] = []
        chain: list[int] = []
        for place, key in enumerate(self._keys):
            while chain and not key.startswith(self._keys[chain[-1]]):
                chain.pop()
            self._parents.append(chain[-1] if chain else -1)
            chain.append(place)

    def longest(self, text: bytes) -> V | None:
        place = bisect_right(self._keys, text) - 1
        while place >= 0:
            if text.startswith(self._keys[place]):
                return self._values[place]
            place = self._parents[place]
        return None


class _Node:
    """A place in the tree of what the regexes say; ``partials`` is about the segment that follows:
    which regexes it may belong to if it begins so."""

    __slots__ = ("any_segment", "children", "partials")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node] = {}
        self.any_segment: _Node | None = None
        self.partials: dict[bytes, set[int]] = {}


class _Place:
    """A place in the tree that a path is led through: of each segment one step, and no choice."""

    __slots__ = ("beginnings", "by_last_segment", "common", "exact", "other")

    def __init__(self, common: tuple[int, ...], by_last: dict[bytes, tuple[int, ...]]) -> None:
        self.common = common
        """Which regexes can match a path that has come so far, whatever its last segment is."""
        self.by_last_segment = by_last
        """The same and a few more, for some last segments."""
        self.exact: dict[bytes, _Place] = {}
        """Where the segment that follows leads, if it is one of these;"""
        self.beginnings: PrefixIndex[_Place] | None = None
        """if it begins with one of these;"""
        self.other: _Place | None = None
        """or else."""


class _TooManyError(Exception):
    """There would be more than PLACES."""


class _Builder:
    """Makes places of nodes: one of all nodes that a path can have come to."""

    def __init__(self, tails: Mapping[int, frozenset[bytes] | None]) -> None:
        self._tails = tails
        self._places: dict[tuple[tuple[int, ...], frozenset[int]], _Place] = {}

    def place(self, nodes: tuple[_Node, ...], numbers: frozenset[int]) -> _Place:
        """``numbers``: of the regexes that the way to there has let pass."""
        key = (tuple(map(id, nodes)), numbers)
        place = self._places.get(key)
        if place is not None:
            return place
        if len(self._places) >= PLACES:
            raise _TooManyError
        place = self._places[key] = self._ending(numbers)
        rest = tuple(node.any_segment for node in nodes if node.any_segment is not None)

        def passed(segment: bytes) -> frozenset[int]:
            return numbers.union(
                *(
                    let_pass
                    for node in nodes
                    for beginning, let_pass in node.partials.items()
                    if segment.startswith(beginning)
                )
            )

        beginnings = {text: self.place(rest, passed(text)) for n in nodes for text in n.partials}
        place.other = beginnings.pop(b"", None)
        if place.other is None and rest:
            place.other = self.place(rest, numbers)
        place.exact = dict(beginnings)
        if beginnings:
            place.beginnings = PrefixIndex(beginnings)
        for segment in {segment for node in nodes for segment in node.children}:
            children = [node.children[segment] for node in nodes if segment in node.children]
            place.exact[segment] = self.place((*children, *rest), passed(segment))
        return place

    def _ending(self, numbers: frozenset[int]) -> _Place:
        common = [number for number in numbers if self._tails[number] is None]
        by_last: dict[bytes, list[int]] = {}
        for number in numbers:
            for tail in self._tails[number] or ():
                by_last.setdefault(tail, list(common)).append(number)
        sorted_by_last = {tail: tuple(sorted(found)) for tail, found in by_last.items()}
        return _Place(tuple(sorted(common)), sorted_by_last)


class RegexIndex:
    """Which of many regexes can match a path: a tree of path segments, compared without case.

    ``candidates`` may name a regex that does not match and never leaves out one that does.
    """

    __slots__ = ("_always", "_cuts", "_root", "anchored")

    def __init__(self, regexes: Sequence[re.Pattern[bytes]]) -> None:
        self._cuts = 0  # no regex knows more segments than this
        self._always = tuple(range(len(regexes)))
        self._root: _Place | None = None
        self.anchored: list[bool] = []
        """For each regex: ``match`` is enough where the search would be for any place."""
        root = _Node()
        always: set[int] = set()
        tails: dict[int, frozenset[bytes] | None] = {}
        for number, regex in enumerate(regexes):
            known = alternatives(regex)
            self.anchored.append(known is not None)
            tails[number] = None
            if known is None:
                always.add(number)
                continue
            endings = last_segments(regex)
            if endings is not None:
                tails[number] = frozenset(ending.lower() for ending in endings)
            for alternative in known:
                node = self._node(root, alternative.segments)
                node.partials.setdefault(alternative.partial.lower(), set()).add(number)
        if len(regexes) > len(always):
            with suppress(_TooManyError, RecursionError):
                self._root = _Builder(tails).place((root,), frozenset(always))

    def _node(self, node: _Node, segments: tuple[bytes | None, ...]) -> _Node:
        self._cuts = max(self._cuts, len(segments))
        for segment in segments:
            if segment is None:
                if node.any_segment is None:
                    node.any_segment = _Node()
                node = node.any_segment
            else:
                node = node.children.setdefault(segment.lower(), _Node())
        return node

    def candidates(self, path: bytes) -> tuple[int, ...]:
        """Numbers of the regexes that can match ``path``, in ascending order."""
        place = self._root
        if place is None:
            return self._always
        path = path.lower()
        for segment in path.split(b"/", self._cuts):
            following = place.exact.get(segment)
            if following is None:
                if place.beginnings is not None:
                    following = place.beginnings.longest(segment)
                following = following or place.other
                if following is None:
                    break
            place = following
        by_last = place.by_last_segment
        if by_last:
            last = path[path.rfind(b"/") + 1 :].removesuffix(b"\n")
            return by_last.get(last, place.common)
        return place.common
