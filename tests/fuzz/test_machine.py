"""Clients and servers that do whatever they like, against synproxy's data path in memory.

Small and always the same here; ``make fuzz`` plays on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fuzz.machine import ProxyMachine


@pytest.fixture
def silence() -> Iterator[None]:
    """Thousands of failed attempts are told to no log."""
    log = logging.getLogger("synproxy")
    before = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(before)


@pytest.mark.usefixtures("silence")
def test_nothing_is_mixed_up_lost_or_left_whatever_clients_and_servers_do() -> None:
    run_state_machine_as_test(
        ProxyMachine,
        settings=settings(
            max_examples=70,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
