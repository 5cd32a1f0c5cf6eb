"""Every request lands on the process that the endpoint table says, by Synapse's own logs."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

import aiohttp
from yarl import URL

from tests.e2e.catalogue import DENIED, LOCAL, expected
from tests.e2e.landing import AccessLog, Landing
from tests.e2e.people import Person, unknown_token
from tests.support.lab import Lab
from tests.support.route_tables import matrix_paths
from tests.support.synproxy import Synproxy

CLIENT_PROCESSES = {
    *("main", "login", "initial_sync1", "client_reader1", "event_creator1"),
    *("media_repository1", "stream_writer1"),
}
"""What three users with one device each must reach, beside one of the two sync workers."""

Result = TypeVar("Result")


def misplaced(lab: Lab, landings: Iterable[Landing]) -> list[str]:
    """The requests that another process handled than the table says, or than synproxy says."""
    wrong = []
    for landing in landings:
        row, names = expected(lab.workers, landing.method, landing.target)
        if names == (DENIED,):
            right = not landing.processes
        elif names == (LOCAL,):
            right = landing.processes in ((), ("main",))
        else:
            right = len(landing.processes) == 1 and landing.processes[0] in names
        if not right or landing.processes != ((landing.server,) if landing.server else ()):
            wrong.append(f"{row}: expected {names}: {landing}")
    return wrong


async def together(*work: Coroutine[Any, Any, Result]) -> list[Result]:
    """All of it at the same time; a failure ends the rest."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one) for one in work]
    return [task.result() for task in running]


def base_url(proxy: Synproxy) -> str:
    return f"http://127.0.0.1:{proxy.port}"


async def test_three_users_at_the_same_time(
    lab: Lab, proxy: Synproxy, access_log: AccessLog
) -> None:
    mark = access_log.mark()
    names = [f"{name}{secrets.token_hex(4)}" for name in ("alice", "bob", "carol")]
    async with (
        Person(base_url(proxy), names[0]) as alice,
        Person(base_url(proxy), names[1]) as bob,
        Person(base_url(proxy), names[2]) as carol,
    ):
        people = (alice, bob, carol)
        await together(*(person.register() for person in people))
        await together(*(person.log_in() for person in people))
        room = await alice.create_room(bob, carol)
        await together(bob.join(room), carol.join(room))
        await together(*(person.sync() for person in people))
        await together(*(talks_and_listens(person, names, room) for person in people))
        await together(*(share_media(person, people) for person in people))
        assert await together(*(person.rooms() for person in people)) == [[room]] * 3
        await together(*(person.log_out() for person in people))

    landings = access_log.since(mark)
    assert misplaced(lab, landings) == []
    assert {landing.status for landing in landings} == {200}
    reached = {landing.server for landing in landings}
    assert reached >= CLIENT_PROCESSES
    assert reached & {"normal_sync1", "normal_sync2"}


async def talks_and_listens(person: Person, names: list[str], room: str) -> None:
    """Says something three times, and hears by long poll what everybody said."""
    said = [f"{name} says {number}" for name in names for number in range(3)]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(person.wait_for(*said))
        for number in range(3):
            await person.send(room, f"{person.name} says {number}")
            await person.typing(room)
    await person.read(room)


async def share_media(person: Person, people: Iterable[Person]) -> None:
    data = secrets.token_bytes(300_000)
    uri = await person.upload(data)
    for other in people:
        assert await other.download(uri) == data


async def test_every_endpoint_of_the_specification_lands_where_the_table_says(
    lab: Lab, proxy: Synproxy, access_log: AccessLog
) -> None:
    """With a token that nobody has: Synapse dispatches each request and changes nothing."""
    mark = access_log.mark()
    requests = [(method.decode(), coded.decode()) for method, _, coded in matrix_paths()]
    assert len(requests) > 200
    async with stranger(base_url(proxy)) as client:
        unrecognized = await unrecognized_of(client, requests)
    landings = access_log.since(mark)
    assert len(landings) == len(requests)
    assert misplaced(lab, landings) == []

    socket = str(lab.places.inbound("main"))
    async with stranger("http://lab", aiohttp.UnixConnector(socket)) as client:
        assert unrecognized == await unrecognized_of(client, unrecognized)


def stranger(url: str, connector: aiohttp.BaseConnector | None = None) -> aiohttp.ClientSession:
    headers = {"Authorization": f"Bearer {unknown_token('nobody')}", "X-Forwarded-For": "127.0.0.1"}
    return aiohttp.ClientSession(url, headers=headers, connector=connector)


async def unrecognized_of(
    client: aiohttp.ClientSession, requests: Iterable[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Those of (method, target) that whoever gets them has no handler for."""
    found = []
    for method, target in requests:
        data = b"{}" if method in ("POST", "PUT") else None
        async with client.request(method, URL(target, encoded=True), data=data) as answer:
            if answer.status in (404, 405) and b"M_UNRECOGNIZED" in await answer.read():
                found.append((method, target))
    return found
