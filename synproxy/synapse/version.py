"""Synapse's versions, as far as endpoints depend on them: v1.163 and v1.163.2 are the same."""

from __future__ import annotations

import re
from typing import NamedTuple

_VERSION = re.compile(r"v?([0-9]{1,4})\.([0-9]{1,4})(?:[.+\-a-z ].*)?")


class Version(NamedTuple):
    """Major and minor; ordered by number, not by text."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"v{self.major}.{self.minor}"


def parse_version(text: str) -> Version:
    """``1.163``, ``v1.163.2`` or ``1.163.0rc1``. Raises ValueError for anything else."""
    found = _VERSION.fullmatch(text.strip())
    if found is None:
        raise ValueError("expected a version such as v1.163")
    return Version(int(found[1]), int(found[2]))
