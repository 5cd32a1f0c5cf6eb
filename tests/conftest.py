"""What holds for all tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# The time of an example says more about what else the machine does than about the code.
settings.register_profile("synproxy", deadline=None)
settings.load_profile("synproxy")


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A directory that everybody may enter, with a path short enough for UNIX sockets."""
    with tempfile.TemporaryDirectory(prefix="syn") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)
