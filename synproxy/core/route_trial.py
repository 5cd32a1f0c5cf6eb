"""Why a route was chosen or not, in words for an administrator.

Runs when somebody asks, never for a request. This module must not choose: the choice is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from synproxy.core.location_syntax import Kind, Location
from synproxy.core.regex_prefix import Alternative, alternatives

Entry = tuple[str, Location, frozenset[bytes] | None]
"""Name, location and methods (None: all) of a route."""


@dataclass(frozen=True, slots=True)
class RouteTrial:
    """What became of one route. ``matched`` is about its own location and methods alone."""

    index: int
    name: str
    location: str
    matched: bool
    chosen: bool
    reason: str


def explain(
    entries: Sequence[Entry], chosen: int | None, path: bytes, method: bytes
) -> list[RouteTrial]:
    """One trial per route: exact ones, prefixes from the longest, regexes in file order."""
    trials = []
    for index in sorted(range(len(entries)), key=lambda index: _rank(index, entries[index][1])):
        name, location, methods = entries[index]
        if methods is not None and method not in methods:
            matched = False
            reason = f"methods are {', '.join(sorted(map(_text, methods)))}"
        else:
            mismatch = _mismatch(location, path)
            matched = not mismatch
            if index == chosen:
                reason = "chosen"
            elif chosen is None:
                reason = mismatch
            else:
                reason = _overruled(index, chosen, entries, matched) or mismatch
        trials.append(RouteTrial(index, name, _written(location), matched, index == chosen, reason))
    return trials


def _rank(index: int, location: Location) -> tuple[int, int, int]:
    """Sorts routes into nginx's order of evaluation."""
    if location.regex is not None:
        return 2, 0, index
    if location.kind is Kind.EXACT:
        return 0, 0, index
    return 1, -len(location.text), index


def _overruled(index: int, chosen: int, entries: Sequence[Entry], matched: bool) -> str:
    """What the winner means for this route; empty if it was tried and did not match."""
    mine, winner = entries[index][1], entries[chosen][1]
    early = winner.kind in (Kind.EXACT, Kind.FINAL) or (winner.regex is not None and chosen < index)
    if mine.regex is not None and early:
        return f"not tried: {_written(winner)} had won"
    return f"matched, but {_written(winner)} won" if matched else ""


def _mismatch(location: Location, path: bytes) -> str:
    """Why the location does not match the path; empty if it does."""
    text = _text(location.text)
    if location.regex is not None:
        if location.regex.search(path) is not None:
            return ""
        known = alternatives(location.regex)
        if not known:
            return "regex matches nowhere in the path"
        reached = max(_agreement(alternative, path) for alternative in known)
        return f"regex does not match; it got as far as {_text(path[:reached]) or 'the start'}"
    if location.kind is Kind.EXACT:
        return "" if path == location.text else f"the path is not {text}"
    return "" if path.startswith(location.text) else f"prefix {text} does not start the path"


def _agreement(alternative: Alternative, path: bytes) -> int:
    """How many bytes of the path agree with what the alternative is known to begin with."""
    agreed = 0
    for expected, segment in zip(alternative.segments, path.split(b"/"), strict=False):
        if expected is not None and expected.lower() != segment.lower():
            return agreed + _common(expected, segment)
        agreed += len(segment) + 1
    return min(agreed + _common(alternative.partial, path[agreed:]), len(path))


def _common(expected: bytes, found: bytes) -> int:
    pairs = zip(expected.lower(), found.lower(), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _written(location: Location) -> str:
    return f"location {location.kind}{' ' if location.kind else ''}{_text(location.text)}"


def _text(data: bytes) -> str:
    return data.decode(errors="backslashreplace")
