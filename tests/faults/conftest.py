"""Real sockets on both event loops."""

from tests.integration.conftest import pytest_asyncio_loop_factories, told

__all__ = ["pytest_asyncio_loop_factories", "told"]
