"""Real sockets on both event loops: every async test here runs on asyncio and on uvloop."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A directory with a path short enough for UNIX sockets."""
    with tempfile.TemporaryDirectory(prefix="syn") as directory:
        yield Path(directory)
