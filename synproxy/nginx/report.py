"""What became of each directive, with its place: the account that an import gives.

Nothing is left out silently: what no converter has claimed is judged by its name at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from synproxy.nginx.directives import judge
from synproxy.nginx.tree import Directive


class Effect(StrEnum):
    """What became of a directive that is not there as it was."""

    LOST = "not carried over"
    DIFFERS = "differs"
    NEEDLESS = "needs nothing here"


@dataclass(frozen=True, slots=True)
class Finding:
    """One directive and what its absence, or its difference, means."""

    directive: Directive
    effect: Effect
    meaning: str


class Report:
    """Claims and findings, by the place of a directive."""

    def __init__(self) -> None:
        self._claimed: set[tuple[str, int, int]] = set()
        self._found: dict[tuple[str, int, int], Finding] = {}

    def claim(self, *directives: Directive | None) -> None:
        """These are carried over."""
        self._claimed |= {_key(one) for one in directives if one is not None}

    def is_claimed(self, directive: Directive) -> bool:
        """Whether it was carried over."""
        return _key(directive) in self._claimed

    def lost(self, directive: Directive, meaning: str) -> None:
        """``directive`` has no effect any more."""
        self._add(Finding(directive, Effect.LOST, meaning))

    def differs(self, directive: Directive, meaning: str) -> None:
        """``directive`` has another effect than in nginx."""
        self._add(Finding(directive, Effect.DIFFERS, meaning))

    def needless(self, directive: Directive, meaning: str = "") -> None:
        """``directive`` can go without any loss."""
        self._add(Finding(directive, Effect.NEEDLESS, meaning))

    def _add(self, finding: Finding) -> None:
        key = _key(finding.directive)
        known = self._found.get(key)
        if known is None or _RANK[finding.effect] > _RANK[known.effect]:
            self._found[key] = finding

    def sweep(self, directives: tuple[Directive, ...]) -> None:
        """Judge what nobody has claimed or spoken of, here and in the blocks inside."""
        for directive in directives:
            key = _key(directive)
            if key in self._found and key not in self._claimed:
                continue  # with all that is in it
            if key not in self._claimed:
                meaning = judge(directive.name, directive.args)
                if meaning is None:
                    self.needless(directive)
                else:
                    self.lost(directive, meaning)
                continue
            self.sweep(directive.block or ())

    def findings(self, *effects: Effect) -> Iterator[Finding]:
        """The findings of these kinds, by file in the order of reading, then by line."""
        return (one for one in self._found.values() if one.effect in effects)

    @property
    def complete(self) -> bool:
        """Whether all that matters is there with the same effect."""
        return not any(self.findings(Effect.LOST, Effect.DIFFERS))


_RANK = {Effect.NEEDLESS: 0, Effect.DIFFERS: 1, Effect.LOST: 2}


def _key(directive: Directive) -> tuple[str, int, int]:
    return directive.file, directive.line, directive.column
