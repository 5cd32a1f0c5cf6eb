"""Finds the few prefixes and regexes that can concern a path, at a cost that does not grow with
their number. This module must not know locations, methods or requests.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from synproxy.core.regex_prefix import alternatives, last_segments

V = TypeVar("V")

FEW = 16  # so many regexes are tried one by one sooner than a path is taken apart (measured)


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


class _Group:
    """Regexes in ascending order: those for any path, and for some last segments a few more."""

    __slots__ = ("by_last_segment", "common")

    def __init__(self, tails: Mapping[int, frozenset[bytes] | None]) -> None:
        self.common = tuple(sorted(number for number, known in tails.items() if known is None))
        by_last: dict[bytes, list[int]] = {}
        for number, known in tails.items():
            for tail in known or ():
                by_last.setdefault(tail, list(self.common)).append(number)
        self.by_last_segment = {tail: tuple(sorted(found)) for tail, found in by_last.items()}


class _Node:
    """A place in the tree; ``partials`` is about the segment that follows."""

    __slots__ = ("any_segment", "children", "index", "partials")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node] = {}
        self.any_segment: _Node | None = None
        self.partials: dict[bytes, dict[int, frozenset[bytes] | None]] = {}
        self.index: PrefixIndex[_Group] | None = None

    def finish(self) -> None:
        """Prefixes become an index in which the longest one speaks for the shorter ones too."""
        if self.partials:
            groups = {}
            for text in self.partials:
                together: dict[int, frozenset[bytes] | None] = {}
                for shorter, numbers in self.partials.items():
                    if text.startswith(shorter):
                        together |= numbers
                groups[text] = _Group(together)
            self.index = PrefixIndex(groups)
        for child in self.children.values():
            child.finish()
        if self.any_segment is not None:
            self.any_segment.finish()


class RegexIndex:
    """Which of many regexes can match a path: a tree of path segments, compared without case.

    ``candidates`` may name a regex that does not match and never leaves out one that does.
    """

    __slots__ = ("_always", "_cuts", "_root", "_tree", "anchored")

    def __init__(self, regexes: Sequence[re.Pattern[bytes]], few: int = FEW) -> None:
        self._root = _Node()
        self._cuts = 0  # no regex knows more segments than this
        self.anchored: list[bool] = []
        """For each regex: ``match`` is enough where the search would be for any place."""
        always: list[int] = []
        for number, regex in enumerate(regexes):
            known = alternatives(regex)
            self.anchored.append(known is not None)
            if known is None or len(regexes) <= few:
                always.append(number)
                continue
            tails = last_segments(regex)
            if tails is not None:
                tails = frozenset(tail.lower() for tail in tails)
            for alternative in known:
                node = self._node(alternative.segments)
                node.partials.setdefault(alternative.partial.lower(), {})[number] = tails
        self._always = tuple(always)
        self._tree = len(always) < len(regexes)
        self._root.finish()

    def _node(self, segments: tuple[bytes | None, ...]) -> _Node:
        self._cuts = max(self._cuts, len(segments))
        node = self._root
        for segment in segments:
            if segment is None:
                if node.any_segment is None:
                    node.any_segment = _Node()
                node = node.any_segment
            else:
                node = node.children.setdefault(segment.lower(), _Node())
        return node

    def candidates(self, path: bytes) -> Sequence[int]:
        """Numbers of the regexes that can match ``path``, in ascending order."""
        if not self._tree:
            return self._always
        path = path.lower()
        last = path[path.rfind(b"/") + 1 :].removesuffix(b"\n")
        groups = [self._always] if self._always else []
        nodes = [self._root]
        for segment in path.split(b"/", self._cuts):
            following: list[_Node] = []
            for node in nodes:
                if node.index is not None:
                    group = node.index.longest(segment)
                    if group is not None:
                        groups.append(group.by_last_segment.get(last, group.common))
                child = node.children.get(segment)
                if child is not None:
                    following.append(child)
                if node.any_segment is not None:
                    following.append(node.any_segment)
            if not following:
                break
            nodes = following
        if len(groups) == 1:
            return groups[0]
        return sorted(set().union(*groups))
