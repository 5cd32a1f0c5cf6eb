"""What a path must begin and end with for a regex to match it, read from the regex's parse tree.

Everything found is a necessary condition and never a sufficient one: what is not understood ends
the known part, it never changes the answer. This module must not know routes.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

# re's own parser. It is private to CPython (3.11 to 3.14 have it under this name), so any surprise
# from it means "nothing is known about this regex", which costs time and never correctness.
_parser: Any = importlib.import_module("re._parser")

LIMIT = 256  # alternatives of one regex; past that the rest of the regex counts as unknown
SMALL_SET = 4  # a character set this small is spelled out, a larger one is a hole

_SLASH = 0x2F
_ALL = frozenset(range(256))
_CATEGORIES = {
    "CATEGORY_DIGIT": frozenset(b"0123456789"),
    "CATEGORY_SPACE": frozenset(b" \t\n\r\f\v"),
    "CATEGORY_WORD": frozenset(b"0123456789_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"),
}
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")


class _UnknownError(Exception):
    """Nothing is known (not anchored, or not understood)."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way a matching path can begin: whole segments, then the start of the next one.

    A segment is the bytes between two slashes (the first one is empty), or None for "any".
    """

    segments: tuple[bytes | None, ...]
    partial: bytes


@dataclass(frozen=True, slots=True)
class _State:
    anchored: bool = False
    segments: tuple[bytes | None, ...] = ()
    partial: bytes = b""
    holed: bool = False  # the current segment goes on with anything but a slash

    def literal(self, byte: int) -> _State:
        if not self.anchored:
            raise _UnknownError
        if byte == _SLASH:
            done = None if self.holed else self.partial
            return _State(True, (*self.segments, done))
        if self.holed:
            return self
        return _State(True, self.segments, self.partial + bytes((byte,)))

    def hole(self) -> _State:
        if not self.anchored:
            raise _UnknownError
        return _State(True, self.segments, self.partial, True)


_SURPRISES = (_UnknownError, AttributeError, LookupError, TypeError, ValueError, RecursionError)


def alternatives(regex: re.Pattern[bytes]) -> frozenset[Alternative] | None:
    """All ways a path can begin that ``regex`` matches; None if it can match anywhere.

    If the answer is not None then ``regex.match`` finds exactly what ``regex.search`` finds.
    """
    if regex.flags & re.MULTILINE:
        return None
    reader = _Reader()
    try:
        reader.stop(reader.sequence(_parser.parse(regex.pattern, regex.flags), [_State()]))
    except _SURPRISES:
        return None
    return frozenset(Alternative(s.segments, s.partial) for s in reader.stopped)


def last_segments(regex: re.Pattern[bytes]) -> frozenset[bytes] | None:
    """What follows the last slash (without a final newline, which ``$`` lets pass) of every path
    that ``regex`` matches; None if that is not a short list. For regexes like ``/.*/join$``."""
    if regex.flags & re.MULTILINE:
        return None
    reader = _Reader()
    try:
        items = list(_parser.parse(regex.pattern, regex.flags))
        if not items or str(items[-1][1]) not in ("AT_END", "AT_END_STRING"):
            return None
        slash = max(
            i for i, (op, what) in enumerate(items) if str(op) == "LITERAL" and what == _SLASH
        )
        if not _keeps_to_segment(items[slash + 1 : -1]):
            return None
        found = reader.sequence(items[slash + 1 : -1], [_State(anchored=True)])
    except _SURPRISES:
        return None
    if reader.stopped or any(state.holed or b"\n" in state.partial for state in found):
        return None
    return frozenset(state.partial for state in found)


class _Reader:
    """Walks a parse tree with the set of states that are still being extended."""

    def __init__(self) -> None:
        self.stopped: set[_State] = set()

    def stop(self, states: Iterable[_State]) -> list[_State]:
        """The states' known part ends here."""
        for state in states:
            if not state.anchored:
                raise _UnknownError
            self.stopped.add(state)
        return []

    def sequence(self, items: Any, states: list[_State]) -> list[_State]:
        for operator, argument in items:
            if not states:
                break
            states = self._item(str(operator), argument, states)
            if len(states) + len(self.stopped) > LIMIT:
                return self.stop(states)
        return states

    def _item(self, operator: str, argument: Any, states: list[_State]) -> list[_State]:
        if operator == "LITERAL":
            return [state.literal(argument) for state in states]
        if operator in ("IN", "NOT_LITERAL"):
            return self._set(_members(operator, argument), states)
        if operator == "BRANCH":
            return _unique(s for branch in argument[1] for s in self.sequence(branch, states))
        if operator == "SUBPATTERN":
            if argument[1] & re.MULTILINE:
                raise _UnknownError
            return self.sequence(argument[3], states)
        if operator == "ATOMIC_GROUP":
            return self.sequence(argument, states)
        if operator in _REPEATS:
            low, high, items = argument
            return self._repeat(low, high, items, states)
        if operator == "AT":
            return self._at(str(argument), states)
        if operator in ("ASSERT", "ASSERT_NOT"):
            return states  # takes no bytes
        return self.stop(states)

    def _set(self, members: frozenset[int], states: list[_State]) -> list[_State]:
        if len(members) <= SMALL_SET:
            return _unique(state.literal(byte) for state in states for byte in members)
        if _SLASH in members:
            return self.stop(states)
        return _unique(state.hole() for state in states)

    def _repeat(self, low: int, high: Any, items: Any, states: list[_State]) -> list[_State]:
        if int(high) == 1:
            once = self.sequence(items, states)
            return once if low == 1 else _unique([*states, *once])
        if _keeps_to_segment(items):
            return _unique(state.hole() for state in states)
        return self.stop(states)

    def _at(self, where: str, states: list[_State]) -> list[_State]:
        if where in ("AT_BEGINNING", "AT_BEGINNING_STRING"):
            return [state if state.anchored else _State(anchored=True) for state in states]
        if where in ("AT_END", "AT_END_STRING"):
            # "$" also matches before a final newline, so the last segment stays a partial one
            return self.stop(states)
        return states


def _unique(states: Iterable[_State]) -> list[_State]:
    return list(dict.fromkeys(states))


def _members(operator: str, argument: Any) -> frozenset[int]:
    """The bytes that a one-byte item matches."""
    if operator == "NOT_LITERAL":
        return _ALL - {argument}
    items: Sequence[tuple[Any, Any]] = argument
    negated = str(items[0][0]) == "NEGATE"
    found: set[int] = set()
    for kind, value in items[1:] if negated else items:
        if str(kind) == "LITERAL":
            found.add(value)
        elif str(kind) == "RANGE":
            found.update(range(value[0], value[1] + 1))
        else:
            name = str(value)
            positive = _CATEGORIES[name.replace("_NOT_", "_")]
            found |= _ALL - positive if "_NOT_" in name else positive
    return _ALL - found if negated else frozenset(found)


def _keeps_to_segment(items: Any) -> bool:
    """True if nothing in ``items`` can match a slash."""
    for operator, argument in items:
        name = str(operator)
        if name == "LITERAL":
            safe = argument != _SLASH
        elif name in ("IN", "NOT_LITERAL"):
            safe = _SLASH not in _members(name, argument)
        elif name == "BRANCH":
            safe = all(map(_keeps_to_segment, argument[1]))
        elif name == "SUBPATTERN":
            safe = _keeps_to_segment(argument[3])
        elif name in _REPEATS:
            safe = _keeps_to_segment(argument[2])
        else:
            safe = False
        if not safe:
            return False
    return True
