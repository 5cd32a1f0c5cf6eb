"""What a check found: one line for an administrator, one object for a program.

Must not know what is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How bad it is. ``SKIP``: it could not be asked, and the reason says why."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check on one subject.

    ``check`` is a stable name for programs; ``remedy`` is empty when there is nothing to do.
    """

    check: str
    status: Status
    subject: str
    reason: str
    remedy: str = ""

    @property
    def text(self) -> str:
        """Subject, reason and remedy on one line."""
        subject = f"{self.subject}: " if self.subject else ""
        remedy = f"; to do: {self.remedy}" if self.remedy else ""
        return f"{subject}{self.reason}{remedy}"


def ok(check: str, subject: str, reason: str) -> Finding:
    return Finding(check, Status.OK, subject, reason)


def warn(check: str, subject: str, reason: str, remedy: str) -> Finding:
    return Finding(check, Status.WARN, subject, reason, remedy)


def fail(check: str, subject: str, reason: str, remedy: str) -> Finding:
    return Finding(check, Status.FAIL, subject, reason, remedy)


def skip(check: str, subject: str, reason: str, remedy: str = "") -> Finding:
    return Finding(check, Status.SKIP, subject, reason, remedy)
