"""From nginx to synproxy: with the same configuration each user stays with the same worker.

The documented nginx setup and config/seed-parity.yaml stand before the same Synapse; its logs say
who handled what. Sync workers have what their users need in memory, so whoever moves waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.differential.deployment import seed_nginx, seed_synproxy
from tests.e2e.people import unknown_token
from tests.support.client import Client
from tests.support.lab import Lab
from tests.support.lab.child import wait_until
from tests.support.lab.logs import processed_targets
from tests.support.process import ProxyProcess

USERS = 40
V3 = "/_matrix/client/v3"
TARGETS = (
    f"{V3}/sync?since=s1&",
    f"{V3}/sync?",
    f"{V3}/login?",
    f"{V3}/joined_rooms?",
    "/_matrix/federation/v1/event/$e?",
    "/_matrix/client/v1/media/config?",
)


@pytest.fixture
def nginx(lab: Lab, tmp_path: Path) -> Iterator[ProxyProcess]:
    (tmp_path / "nginx").mkdir()
    with seed_nginx(tmp_path / "nginx", lab.directory) as proxy:
        yield proxy


@pytest.fixture
def synproxy(lab: Lab, tmp_path: Path) -> Iterator[ProxyProcess]:
    (tmp_path / "synproxy").mkdir()
    with seed_synproxy(tmp_path / "synproxy", lab.directory) as proxy:
        yield proxy


def ask(proxy: ProxyProcess, target: str, token: str) -> None:
    with Client(proxy.port) as client:
        client.send(
            f"GET {target} HTTP/1.1\r\n"
            "Host: lab.test\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )
        assert client.read_answer() is not None


def test_each_user_stays_with_the_same_workers(
    lab: Lab, nginx: ProxyProcess, synproxy: ProxyProcess
) -> None:
    tokens = [unknown_token(f"user{number}") for number in range(USERS)]
    requests = [
        (f"{target}by={number}", token) for number, token in enumerate(tokens) for target in TARGETS
    ]
    for proxy in (nginx, synproxy):
        for target, token in requests:
            ask(proxy, f"{target}&through={proxy.name}", token)

    found: dict[str, list[str]] = {}

    def all_logged() -> bool:
        found.update(processed_targets(lab.places, lab.processes))
        return all(
            f"{target}&through={proxy.name}" in found
            for target, _ in requests
            for proxy in (nginx, synproxy)
        )

    wait_until(all_logged, "every request in a log of Synapse", 10)
    by_nginx = {target: found[f"{target}&through=nginx"] for target, _ in requests}
    assert {target: found[f"{target}&through=synproxy"] for target, _ in requests} == by_nginx
    assert {name for names in by_nginx.values() for name in names} >= {
        *("login", "initial_sync1", "normal_sync1", "normal_sync2"),
        *("federation_reader1", "media_repository1", "main"),
    }
