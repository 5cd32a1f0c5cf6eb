"""One lab for all end-to-end tests, and synproxy in front of it.

Nothing here skips: a missing program is an error that says what to install.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.configuration import made_by_init, observed, shipped
from tests.e2e.landing import AccessLog
from tests.support.lab import Lab
from tests.support.synproxy import Synproxy

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="session")
def shipped_proxy(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Synproxy, AccessLog]]:
    """synproxy with the shipped configuration."""
    directory = tmp_path_factory.mktemp("shipped")
    with Synproxy(directory, observed(shipped(lab))) as proxy:
        yield proxy, AccessLog(lab, proxy, directory / "access.log")


@pytest.fixture(scope="session")
def proxy(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synproxy]:
    """synproxy with what `synproxy init` makes of the lab."""
    directory = tmp_path_factory.mktemp("init")
    with Synproxy(directory, made_by_init(lab)) as proxy:
        yield proxy


@pytest.fixture
def impatient_proxy(lab: Lab, tmp_path: Path) -> Iterator[Synproxy]:
    """The same, with next to no patience for servers that are away."""
    with Synproxy(tmp_path, made_by_init(lab, restart_hold="1s")) as proxy:
        yield proxy


@pytest.fixture
def access_log(lab: Lab, proxy: Synproxy) -> AccessLog:
    return AccessLog(lab, proxy, proxy.directory / "access.log")
