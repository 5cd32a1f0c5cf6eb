"""What a rule found, with its place: for people and for programs. Must not know the rules."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """An error breaks requests; a warning costs something, or may break them one day."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. ``rule`` is a stable name for programs."""

    rule: str
    severity: Severity
    file: str
    line: int
    column: int
    what: str
    why: str
    hint: str = ""
    examples: tuple[str, ...] = ()
    """Requests that show it."""

    def as_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "severity": str(self.severity),
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "what": self.what,
            "why": self.why,
            "hint": self.hint,
            "examples": list(self.examples),
        }
