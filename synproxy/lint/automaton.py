"""Regexes as automata over bytes: which paths match one and not the others, with an example.

Answers are exact for what PCRE and Python share and for what routes use; whatever else (lookaround,
back-references, word boundaries) raises UnsupportedRegexError and is judged by nobody. This module
must not know routes. Source: Thompson's construction, subsets made as they are needed.
"""

from __future__ import annotations

import importlib
import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

_parser: Any = importlib.import_module("re._parser")  # as in core.regex_prefix

ALL = (1 << 256) - 1
"""Every byte, as a set of bits."""

MAX_STATES = 20_000
"""States of one automaton; a regex that needs more is not judged."""

MAX_STEPS = 200_000
"""Pairs of states that a question looks at."""

_NEWLINE = 1 << 0x0A
_LETTERS = {bit: 1 << (bit ^ 0x20) for bit in (*range(0x41, 0x5B), *range(0x61, 0x7B))}
# Bytes that an example is made of, the nicest first; each stands for all that nobody tells apart.
_NICE = b"xabcdefghijklmnopqrstuvwyz0123456789/._-~!$&'()*+,;=:@ABCDEFGHIJKLMNOPQRSTUVWXYZ%"
_BY_NICENESS = (*_NICE, *(byte for byte in range(1, 256) if byte not in _NICE))


class UnsupportedRegexError(Exception):
    """The regex has a construct that an automaton here cannot express."""


@dataclass(slots=True)
class Automaton:
    """States are numbers; state 0 is where it starts, ``final`` the states that accept.

    ``begins`` are steps that take no byte and exist before the first one only.
    """

    free: list[list[int]] = field(default_factory=list)
    begins: list[list[int]] = field(default_factory=list)
    moves: list[list[tuple[int, int]]] = field(default_factory=list)
    final: set[int] = field(default_factory=set)
    _steps: dict[tuple[frozenset[int], int], frozenset[int]] = field(default_factory=dict)
    _masks: dict[frozenset[int], frozenset[int]] = field(default_factory=dict)

    def state(self) -> int:
        if len(self.free) >= MAX_STATES:
            raise UnsupportedRegexError("it is too large")
        self.free.append([])
        self.begins.append([])
        self.moves.append([])
        return len(self.free) - 1

    def closure(self, states: Iterable[int], *, first: bool = False) -> frozenset[int]:
        """The states that are reached without a byte."""
        found = set(states)
        waiting = list(found)
        while waiting:
            state = waiting.pop()
            for target in (*self.free[state], *(self.begins[state] if first else ())):
                if target not in found:
                    found.add(target)
                    waiting.append(target)
        return frozenset(found)

    def step(self, states: frozenset[int], byte: int) -> frozenset[int]:
        """The states after one more byte."""
        key = (states, byte)
        found = self._steps.get(key)
        if found is None:
            moves = self.moves
            found = self._steps[key] = self.closure(
                target for state in states for mask, target in moves[state] if mask >> byte & 1
            )
        return found

    def masks(self, states: frozenset[int]) -> frozenset[int]:
        """The sets of bytes that lead on from ``states``."""
        found = self._masks.get(states)
        if found is None:
            found = frozenset(mask for state in states for mask, _ in self.moves[state])
            self._masks[states] = found
        return found

    def accepts(self, states: frozenset[int]) -> bool:
        return not self.final.isdisjoint(states)


def search(pattern: str | bytes, flags: int = 0) -> Automaton:
    """Accepts what ``re.search`` finds ``pattern`` in."""
    data = pattern.encode() if isinstance(pattern, str) else pattern
    if flags & re.MULTILINE:
        raise UnsupportedRegexError("MULTILINE")
    try:
        tree = _parser.parse(data, flags)
    except re.error as error:
        raise UnsupportedRegexError(str(error)) from error
    return _Builder(flags | tree.state.flags).build(tree)


def literal(text: bytes, *, prefix: bool = False) -> Automaton:
    """Accepts ``text``, or whatever begins with it."""
    automaton = Automaton()
    state = automaton.state()
    for byte in text:
        following = automaton.state()
        automaton.moves[state].append((1 << byte, following))
        state = following
    automaton.final.add(state)
    if prefix:
        automaton.moves[state].append((ALL, state))
    return automaton


class _Builder:
    """One automaton from one parse tree.

    What follows a ``$`` lives in states of its own, ``ended``, where no byte is taken but a last
    line break.
    """

    def __init__(self, flags: int) -> None:
        self._ignore_case = bool(flags & re.IGNORECASE)
        self._dot_all = bool(flags & re.DOTALL)
        self._automaton = Automaton()
        self._ended: dict[int, int] = {}

    def build(self, tree: Any) -> Automaton:
        automaton = self._automaton
        start, core = automaton.state(), automaton.state()
        automaton.free[start].append(core)
        waiting = automaton.state()  # search: the match may begin later
        automaton.moves[start].append((ALL, waiting))
        automaton.moves[waiting].append((ALL, waiting))
        automaton.free[waiting].append(core)
        for end, ended in self._sequence(tree, [(core, False)]):
            automaton.final.add(end)
            if ended:
                last = automaton.state()
                automaton.final.add(last)
                automaton.moves[end].append((_NEWLINE, last))
            else:
                automaton.moves[end].append((ALL, end))
        return automaton

    def _sequence(self, items: Any, ends: list[tuple[int, bool]]) -> list[tuple[int, bool]]:
        for operator, argument in items:
            ends = [end for one in ends for end in self._item(str(operator), argument, one)]
            ends = self._joined(ends)
        return ends

    def _joined(self, ends: list[tuple[int, bool]]) -> list[tuple[int, bool]]:
        """At most one end of each sort, so that repetitions stay small."""
        joined = []
        for ended in (False, True):
            states = [state for state, at_end in ends if at_end is ended]
            if len(states) > 1:
                meeting = self._automaton.state()
                for state in states:
                    self._automaton.free[state].append(meeting)
                states = [meeting]
            joined += [(state, ended) for state in states]
        return joined

    def _item(self, operator: str, argument: Any, end: tuple[int, bool]) -> list[tuple[int, bool]]:
        state, ended = end
        if operator == "AT":
            return self._at(str(argument), state, ended)
        if operator == "BRANCH":
            return [e for branch in argument[1] for e in self._sequence(branch, [end])]
        if operator == "SUBPATTERN":
            if argument[1] or argument[2]:
                raise UnsupportedRegexError("flags inside the regex")
            return self._sequence(argument[3], [end])
        if operator in ("MAX_REPEAT", "MIN_REPEAT"):
            low, high, items = argument
            return self._repeat(low, high, items, end)
        mask = mask_of(operator, argument, ignore_case=self._ignore_case, dot_all=self._dot_all)
        if ended:
            return []  # nothing can be taken after the end
        following = self._automaton.state()
        self._automaton.moves[state].append((mask, following))
        return [(following, False)]

    def _at(self, where: str, state: int, ended: bool) -> list[tuple[int, bool]]:
        if where in ("AT_BEGINNING", "AT_BEGINNING_STRING"):
            following = self._automaton.state()
            self._automaton.begins[state].append(following)
            return [(following, ended)]
        if where == "AT_END":
            following = self._automaton.state()
            self._automaton.free[state].append(following)
            return [(following, True)]
        raise UnsupportedRegexError(where)

    def _repeat(
        self, low: int, high: Any, items: Any, end: tuple[int, bool]
    ) -> list[tuple[int, bool]]:
        ends = [end]
        for _ in range(low):
            ends = self._sequence(items, ends)
        if high == _parser.MAXREPEAT:
            return self._star(items, ends)
        found = list(ends)
        for _ in range(high - low):
            ends = self._sequence(items, ends)
            found += ends
        return self._joined(found)

    def _star(self, items: Any, ends: list[tuple[int, bool]]) -> list[tuple[int, bool]]:
        found = [end for end in ends if end[1]]
        for state, _ in (end for end in ends if not end[1]):
            loop = self._automaton.state()
            self._automaton.free[state].append(loop)
            found.append((loop, False))
            for last, ended in self._sequence(items, [(loop, False)]):
                if ended:
                    found.append((last, True))
                else:
                    self._automaton.free[last].append(loop)
        return found


def mask_of(operator: str, argument: Any, *, ignore_case: bool, dot_all: bool) -> int:
    """The bytes that a one-byte item of a parse tree takes. Raises UnsupportedRegexError."""
    if operator == "LITERAL":
        return _cased(1 << argument, ignore_case)
    if operator == "NOT_LITERAL":
        return ALL & ~_cased(1 << argument, ignore_case)
    if operator == "ANY":
        return ALL if dot_all else ALL & ~_NEWLINE
    if operator == "IN":
        return _set(argument, ignore_case)
    raise UnsupportedRegexError(operator)


def _set(members: Any, ignore_case: bool) -> int:
    negated = str(members[0][0]) == "NEGATE"
    mask = 0
    for kind, value in members[1:] if negated else members:
        if str(kind) == "LITERAL":
            mask |= 1 << value
        elif str(kind) == "RANGE":
            mask |= (1 << (value[1] + 1)) - (1 << value[0])
        else:
            mask |= _category(str(value))
    mask = _cased(mask, ignore_case)
    return ALL & ~mask if negated else mask


def _cased(mask: int, ignore_case: bool) -> int:
    if ignore_case:
        for byte, other in _LETTERS.items():
            if mask >> byte & 1:
                mask |= other
    return mask


_CATEGORIES = {
    "CATEGORY_DIGIT": b"0123456789",
    "CATEGORY_SPACE": b" \t\n\r\f\v",
    "CATEGORY_WORD": b"0123456789_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
}


def _category(name: str) -> int:
    members = _CATEGORIES.get(name.replace("_NOT_", "_"))
    if members is None:
        raise UnsupportedRegexError(name)
    mask = sum(1 << byte for byte in members)
    return ALL & ~mask if "_NOT_" in name else mask


def example(wanted: Sequence[Automaton], unwanted: Sequence[Automaton] = ()) -> bytes | None:
    """A shortest text that all of ``wanted`` accept and none of ``unwanted``; None: there is none.

    Raises UnsupportedRegexError if it takes too long to find out.
    """
    automata = [*wanted, *unwanted]
    start = tuple(automaton.closure([0], first=True) for automaton in automata)
    seen = {start}
    waiting: deque[tuple[tuple[frozenset[int], ...], bytes]] = deque([(start, b"")])
    while waiting:
        states, text = waiting.popleft()
        if _good(states, automata, len(wanted)):
            return text
        masks = [one.masks(current) for one, current in zip(automata, states, strict=True)]
        for byte in letters_of(frozenset().union(*masks)):
            following = tuple(
                automaton.step(current, byte)
                for automaton, current in zip(automata, states, strict=True)
            )
            if following in seen or not all(following[: len(wanted)]):
                continue
            if len(seen) >= MAX_STEPS:
                raise UnsupportedRegexError("it takes too long to compare")
            seen.add(following)
            waiting.append((following, text + bytes((byte,))))
    return None


def _good(states: Sequence[frozenset[int]], automata: Sequence[Automaton], wanted: int) -> bool:
    verdicts = [
        automaton.accepts(current) for automaton, current in zip(automata, states, strict=True)
    ]
    return all(verdicts[:wanted]) and not any(verdicts[wanted:])


@lru_cache(65536)
def letters_of(masks: frozenset[int]) -> tuple[int, ...]:
    """One byte of each class that no mask tells apart, nice ones where there is a choice."""
    classes = [ALL & ~1]  # a path has no NUL
    for mask in sorted(masks):
        classes = [half for one in classes for half in (one & mask, one & ~mask) if half]
    ranks = (next(r for r, byte in enumerate(_BY_NICENESS) if one >> byte & 1) for one in classes)
    return tuple(_BY_NICENESS[rank] for rank in sorted(ranks))
