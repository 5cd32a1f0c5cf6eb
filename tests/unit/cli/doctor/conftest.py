"""What the checks of the doctor need: short socket paths, and compiled configurations."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A directory with a path short enough for UNIX sockets."""
    with tempfile.TemporaryDirectory(prefix="syn") as directory:
        yield Path(directory)
