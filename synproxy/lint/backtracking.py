"""Regexes on which a backtracking matcher, such as Python's or PCRE's, takes exponential or
polynomial time, with a text that shows it.

A matcher that tries all ways takes as many steps as there are paths through the regex that agree
with a beginning of the text. Where two ways lead through a loop with the same text (EDA), paths
double with each turn; where two loops follow each other on the same text (IDA), they grow with a
power of its length. Such loops are looked for among the positions of the regex; then the paths
through it are counted, for texts that do not match in the end, so that what is reported is no guess
and no measurement. Source: Weideman et al., "Analyzing Matching Time Behavior of Backtracking
Regular Expression Matchers", CIAA 2016. This module must not know where a regex is used.
"""

from __future__ import annotations

import importlib
import math
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from synproxy.core.regex_prefix import alternatives
from synproxy.lint.automaton import ALL, UnsupportedRegexError, letters_of, mask_of

_parser: Any = importlib.import_module("re._parser")

MAX_POSITIONS = 4000
MAX_LOOP = 60
"""Positions in loops; more are not compared with each other."""

MAX_COPIES = 12
"""How often a counted repetition is written out; longer ones count as endless."""

END = 256
"""The letter behind a text's last one, which ``$`` takes."""

T = TypeVar("T")


class Growth(StrEnum):
    """How steps grow with the length of a text."""

    EXPONENTIAL = "exponential"
    POLYNOMIAL = "polynomial"


@dataclass(frozen=True, slots=True)
class Blowup:
    """``before``, then ``pump`` again and again, then ``after``: a text that is slow to refuse."""

    growth: Growth
    degree: int
    """Of a polynomial: 2 for quadratic; 0 for exponential growth."""
    before: bytes
    pump: bytes
    after: bytes

    def text(self, turns: int) -> bytes:
        return self.before + self.pump * turns + self.after


def blowup(regex: re.Pattern[bytes]) -> Blowup | None:
    """The worst that a text can do to ``regex.search``; None if steps grow with its length only.

    Raises UnsupportedRegexError for a construct that is not understood.
    """
    positions = _Positions(regex)
    worst: Blowup | None = None
    for growth, state, pump in _candidates(positions):
        found = _confirm(positions, growth, state, pump)
        if found is not None and found.growth is Growth.EXPONENTIAL:
            return found
        if found is not None and (worst is None or found.degree > worst.degree):
            worst = found
    return worst


def steps(regex: re.Pattern[bytes], text: bytes) -> int:
    """How many steps a matcher takes that tries every way through ``regex`` on ``text``.

    Exact for a text without a match; with one, a bound that the matcher may stop before.
    """
    return _Positions(regex).count(text)[0]


@dataclass(slots=True)
class _Part:
    """A piece of the regex: how it can begin, end, and be empty. Numbers count the ways."""

    first: Counter[int] = field(default_factory=Counter)
    last: Counter[int] = field(default_factory=Counter)
    empty: int = 0


class _Positions:
    """The letters of a regex as states (Glushkov), with the number of ways from each to each."""

    def __init__(self, regex: re.Pattern[bytes]) -> None:
        self._ignore_case = bool(regex.flags & re.IGNORECASE)
        self._dot_all = bool(regex.flags & re.DOTALL)
        if regex.flags & re.MULTILINE:
            raise UnsupportedRegexError("MULTILINE")
        self.masks: list[int] = []
        self.follow: list[Counter[int]] = []
        self.root = self._sequence(_parser.parse(regex.pattern, regex.flags))
        self.search: int | None = None
        if alternatives(regex) is None:  # the match may begin anywhere
            self.search = self._position(ALL)
            self.follow[self.search][self.search] = 1
            self.follow[self.search].update(self.root.first)
        self.starts = Counter(self.root.first)
        if self.search is not None:
            self.starts[self.search] = 1
        self.letters = letters_of(frozenset(mask & ALL for mask in self.masks))

    def count(self, text: bytes) -> tuple[int, bool]:
        """Steps on ``text``, and whether it matches."""
        if self.root.empty:
            return 1, True
        total = 0
        ways: Counter[int] = Counter()
        for index, letter in enumerate((*text, END)):
            following: Counter[int] = Counter()
            if index == 0:
                reached = [(position, number) for position, number in self.starts.items()]
            else:
                reached = [
                    (target, number * several)
                    for position, number in ways.items()
                    for target, several in self.follow[position].items()
                ]
            for position, number in reached:
                if self.masks[position] >> letter & 1:
                    following[position] += number
            ways = following
            total += sum(ways.values())
            if any(position in self.root.last for position in ways):
                return total, True
        return total, False

    # The parse tree

    def _position(self, mask: int) -> int:
        if len(self.masks) >= MAX_POSITIONS:
            raise UnsupportedRegexError("it is too large")
        self.masks.append(mask)
        self.follow.append(Counter())
        return len(self.masks) - 1

    def _sequence(self, items: Any) -> _Part:
        whole = _Part(empty=1)
        for operator, argument in items:
            whole = self._joined(whole, self._item(str(operator), argument))
        return whole

    def _item(self, operator: str, argument: Any) -> _Part:
        if operator == "AT":
            if str(argument) in ("AT_BEGINNING", "AT_BEGINNING_STRING"):
                return _Part(empty=1)
            if str(argument) == "AT_END_STRING":
                return self._letter(1 << END)
            if str(argument) == "AT_END":  # also before a last line break
                line_break = self._letter(1 << 0x0A)
                line_break.empty = 1
                return self._joined(line_break, self._letter(1 << END))
            raise UnsupportedRegexError(str(argument))
        if operator == "BRANCH":
            whole = _Part()
            for branch in argument[1]:
                part = self._sequence(branch)
                whole.first.update(part.first)
                whole.last.update(part.last)
                whole.empty += part.empty
            return whole
        if operator == "SUBPATTERN":
            if argument[1] or argument[2]:
                raise UnsupportedRegexError("flags inside the regex")
            return self._sequence(argument[3])
        if operator in ("MAX_REPEAT", "MIN_REPEAT"):
            return self._repeat(*argument)
        return self._letter(
            mask_of(operator, argument, ignore_case=self._ignore_case, dot_all=self._dot_all)
        )

    def _letter(self, mask: int) -> _Part:
        position = self._position(mask)
        return _Part(Counter({position: 1}), Counter({position: 1}))

    def _joined(self, one: _Part, other: _Part) -> _Part:
        for end, ways in one.last.items():
            for start, more in other.first.items():
                self.follow[end][start] += ways * more
        first, last = Counter(one.first), Counter(other.last)
        for start, ways in other.first.items() if one.empty else ():
            first[start] += ways * one.empty
        for end, ways in one.last.items() if other.empty else ():
            last[end] += ways * other.empty
        return _Part(first, last, one.empty * other.empty)

    def _repeat(self, low: int, high: Any, items: Any) -> _Part:
        whole = _Part(empty=1)
        for _ in range(min(low, MAX_COPIES)):
            whole = self._joined(whole, self._sequence(items))
        if high == _parser.MAXREPEAT or high - low > MAX_COPIES:
            part = self._sequence(items)
            for end, ways in part.last.items():
                for start, more in part.first.items():
                    self.follow[end][start] += ways * more
            return self._joined(whole, _Part(part.first, part.last, 1))
        options = _Part(empty=1)
        for _ in range(high - low):  # x{0,2} is (x(x)?)?
            part = self._joined(self._sequence(items), options)
            options = _Part(part.first, part.last, 1)
        return self._joined(whole, options)


def _candidates(positions: _Positions) -> Iterator[tuple[Growth, int, bytes]]:
    """Loops that may be taken in several ways: where they are, and a text for one turn."""
    loops = _loops(positions)
    for loop in loops:
        for state in sorted(loop):
            if (pump := _ambiguous_turn(positions, loop, state)) is not None:
                yield Growth.EXPONENTIAL, state, pump
                break
    inside = sorted({state for loop in loops for state in loop})
    for one in inside:
        for other in inside:
            if one != other and (pump := _handed_over(positions, inside, one, other)) is not None:
                yield Growth.POLYNOMIAL, one, pump


def _loops(positions: _Positions) -> list[set[int]]:
    """The positions from which a way leads back to themselves, together with each other."""
    reach = {
        state: _reachable(state, lambda s: positions.follow[s])
        for state in range(len(positions.masks))
        if positions.follow[state]
    }
    loops: list[set[int]] = []
    done: set[int] = set()
    for state, reached in reach.items():
        if state in reached and state not in done:
            loop = {other for other in reached if state in reach.get(other, ())}
            done |= loop
            loops.append(loop)
    if sum(map(len, loops)) > MAX_LOOP:
        raise UnsupportedRegexError("its loops are too large")
    return loops


def _reachable(start: int, following: Callable[[int], Iterator[int] | Counter[int]]) -> set[int]:
    found: set[int] = set()
    waiting = [start]
    while waiting:
        for target in following(waiting.pop()):
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found


def _ambiguous_turn(positions: _Positions, loop: set[int], state: int) -> bytes | None:
    """A text that leads from ``state`` back to it in two ways (EDA)."""

    def following(pair: tuple[int, int, bool]) -> Iterator[tuple[int, tuple[int, int, bool]]]:
        one, other, differ = pair
        for first, ways in positions.follow[one].items():
            for second, more in positions.follow[other].items():
                if first not in loop or second not in loop:
                    continue
                mask = positions.masks[first] & positions.masks[second]
                twice = one == other and first == second and max(ways, more) > 1
                yield mask, (first, second, differ or first != second or twice)

    return _word(positions, (state, state, False), (state, state, True), following)


def _handed_over(
    positions: _Positions, inside: Sequence[int], one: int, other: int
) -> bytes | None:
    """A text that leads from ``one`` to itself, from it to ``other``, and from that to itself."""
    allowed = set(inside)

    def following(
        triple: tuple[int, int, int],
    ) -> Iterator[tuple[int, tuple[int, int, int]]]:
        for first in positions.follow[triple[0]]:
            if first not in allowed:
                continue
            for second in positions.follow[triple[1]]:
                mask = positions.masks[first] & positions.masks[second]
                if not mask:
                    continue
                for third in positions.follow[triple[2]]:
                    if third in allowed:
                        yield mask & positions.masks[third], (first, second, third)

    return _word(positions, (one, one, other), (one, other, other), following)


def _word(
    positions: _Positions,
    start: T,
    goal: T,
    following: Callable[[T], Iterator[tuple[int, T]]],
) -> bytes | None:
    """A shortest text that leads from ``start`` to ``goal``, by at least one letter."""
    seen: set[T] = set()
    waiting: deque[tuple[T, bytes]] = deque([(start, b"")])
    while waiting:
        node, text = waiting.popleft()
        for mask, target in following(node):
            if not mask or target in seen:
                continue
            letter = next((one for one in positions.letters if mask >> one & 1), None)
            if letter is None:
                continue
            longer = text + bytes((letter,))
            if target == goal:
                return longer
            seen.add(target)
            waiting.append((target, longer))
            if len(seen) > 200_000:
                raise UnsupportedRegexError("it takes too long to compare")
    return None


def _confirm(positions: _Positions, growth: Growth, state: int, pump: bytes) -> Blowup | None:
    """The blowup with a text around ``pump`` that does not match, if there is one."""
    before = _way_to(positions, state)
    if before is None:
        return None
    letters = [bytes((letter,)) for letter in positions.letters]
    for after in (b"", *letters, *(b"\n" + letter for letter in letters)):
        found = Blowup(growth, 0, before, pump, after)
        few, matched = positions.count(found.text(32))
        if matched:
            continue
        more = positions.count(found.text(64))[0]
        if growth is Growth.EXPONENTIAL:
            if more > few * 2**24:
                return found
            continue
        most = positions.count(found.text(128))[0]
        degree = _degree(few, more, most)
        if degree >= 2:
            return Blowup(growth, degree, before, pump, after)
    return None


def _degree(few: int, more: int, most: int) -> int:
    """Of the polynomial through three points, each twice as far as the one before."""
    # Differences take the lower terms away: for c*n**d they grow by 2**d.
    ratio = (most - more) / max(more - few, 1)
    return round(math.log2(max(ratio, 1)))


def _way_to(positions: _Positions, state: int) -> bytes | None:
    """A shortest text after which the matcher may stand at ``state``."""

    def following(node: int) -> Iterator[tuple[int, int]]:
        for target in positions.starts if node < 0 else positions.follow[node]:
            yield positions.masks[target] & ALL, target

    return _word(positions, -1, state, following)
