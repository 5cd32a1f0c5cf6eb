"""config/synapse-workers.yaml, as an administrator copies it, in front of a real Synapse."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from tests.e2e.configuration import shipped
from tests.e2e.landing import AccessLog, Landing
from tests.e2e.people import Person
from tests.support.lab import Lab
from tests.support.lab.child import wait_until
from tests.support.synproxy import Synproxy

SERVED = {
    "login": {"login"},
    "sync": {"initial_sync1", "normal_sync1", "normal_sync2"},
    "media": {"media_repository1"},
    "main": {"main"},
}
"""The processes of the lab behind each route that a client's first minute uses."""


async def a_first_minute(proxy: Synproxy) -> None:
    async with Person(f"http://127.0.0.1:{proxy.port}", f"u{secrets.token_hex(4)}") as person:
        await person.register()
        await person.log_in()
        room = await person.create_room()
        await person.sync()
        event = await person.send(room, "hello")
        assert event.startswith("$")
        await person.wait_for("hello")
        data = secrets.token_bytes(200_000)
        assert await person.download(await person.upload(data)) == data


def passed_over(landings: list[Landing], lab: Lab) -> set[str]:
    """The servers that were asked in vain and are no process of the lab."""
    asked = {server for landing in landings for server, status in landing.attempts if not status}
    return asked - lab.processes.keys()


def missing_servers(lab: Lab) -> set[str]:
    """The servers of the configuration that the lab does not have."""
    sockets = {
        server["address"] if isinstance(server, dict) else server
        for pool in shipped(lab)["pools"].values()
        for server in pool["servers"]
    }
    return {name for name in sockets if not Path(name.removeprefix("unix:")).exists()}


async def test_the_shipped_configuration_serves_a_users_first_minute(
    lab: Lab, shipped_proxy: tuple[Synproxy, AccessLog]
) -> None:
    proxy, log = shipped_proxy
    mark = log.mark()
    await a_first_minute(proxy)
    landings = log.since(mark)
    assert [landing for landing in landings if landing.status != 200] == []
    for landing in landings:
        assert landing.processes == (landing.server,), landing
        assert landing.server in SERVED[landing.route], landing
    assert {landing.route for landing in landings} == SERVED.keys()


async def test_servers_whose_sockets_do_not_exist_are_found_and_passed_over_unseen(
    lab: Lab, shipped_proxy: tuple[Synproxy, AccessLog]
) -> None:
    proxy, log = shipped_proxy
    missing = missing_servers(lab)
    assert missing

    def found() -> bool:
        told = re.findall(r"server (\S+) of .* is down: No such file", proxy.log.read_text())
        return missing <= set(told)  # workers that other tests restart may be told of, too

    wait_until(found, "the servers that are missing are known to be down", 30.0)
    mark = log.mark()
    for _ in range(6):
        await a_first_minute(proxy)
    landings = log.since(mark)
    assert {landing.status for landing in landings} == {200}
    assert passed_over(landings, lab) == set()
