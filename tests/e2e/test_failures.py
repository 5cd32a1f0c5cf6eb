"""Processes of Synapse are restarted and killed under load, and clients see nothing of it."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio

from tests.e2e.landing import AccessLog
from tests.e2e.load import BUSY, V3, WRITE_PAUSE, Cast, Load, User, load_on
from tests.e2e.people import Person, unknown_token
from tests.support.lab import WORKERS, Lab
from tests.support.synproxy import Synproxy

SYNC_WORKERS = ("normal_sync1", "normal_sync2")
HOLDERS = 4
RESTART_SEC = 1.0
"""systemd's ``RestartSec=``, in seconds."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cast(lab: Lab, proxy: Synproxy) -> Cast:
    url = base_url(proxy)
    users = [await new_user(url, name) for name in holders(lab, proxy)]
    async with (
        Person(url, f"s{secrets.token_hex(4)}") as first,
        Person(url, f"s{secrets.token_hex(4)}") as second,
    ):
        for person in (first, second):
            await person.register()
        room = await first.create_room(second)
        await second.join(room)
        speakers = [User(person.user_id, person.token) for person in (first, second)]
    user = quote(users[0].user_id)
    gets = {
        "main": f"{V3}/pushers",
        "login": f"{V3}/login",
        "initial_sync1": f"{V3}/sync?timeout=0",
        "client_reader1": f"{V3}/joined_rooms",
        "event_creator1": f"{V3}/profile/{user}",
        "federation_reader1": "/_matrix/federation/v1/version",
        "media_repository1": "/_matrix/client/v1/media/config",
        "stream_writer1": f"{V3}/pushrules/",
    }
    return Cast(users, speakers, room, gets)


def base_url(proxy: Synproxy) -> str:
    return f"http://127.0.0.1:{proxy.port}"


def holders(lab: Lab, proxy: Synproxy) -> list[str]:
    """Names for users of whom each sync worker has the same number."""
    log = AccessLog(lab, proxy, proxy.directory / "access.log")
    names = [f"h{secrets.token_hex(4)}" for _ in range(20)]
    homes = log.landed(*((f"{V3}/sync?since=s1", unknown_token(name)) for name in names))
    chosen: list[str] = []
    for worker in SYNC_WORKERS:
        here = [name for name, home in zip(names, homes, strict=True) if home == worker]
        chosen += here[: HOLDERS // len(SYNC_WORKERS)]
    assert len(chosen) == HOLDERS
    return chosen


async def new_user(url: str, name: str) -> User:
    async with Person(url, name) as person:
        await person.register()
        return User(person.user_id, person.token)


async def restart(lab: Lab, name: str) -> None:
    """kill -TERM and a start, as ``systemctl restart`` does it."""
    await asyncio.to_thread(lab.processes[name].kill, signal.SIGTERM)
    await come_back(lab, name)


async def kill(lab: Lab, name: str) -> None:
    """kill -9: its socket stays behind, and the service manager starts it again after a while."""
    await asyncio.to_thread(lab.processes[name].kill, signal.SIGKILL)
    await asyncio.sleep(RESTART_SEC)
    await come_back(lab, name)


async def come_back(lab: Lab, name: str) -> None:
    lab.processes[name].start()
    await asyncio.to_thread(lab.wait_ready, name)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("fault", [restart, kill], ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("name", ["main", *(worker.name for worker in WORKERS)])
async def test_clients_see_nothing_of_a_process_that_goes_and_comes_back(
    lab: Lab,
    proxy: Synproxy,
    access_log: AccessLog,
    cast: Cast,
    name: str,
    fault: Callable[[Lab, str], Awaitable[None]],
) -> None:
    mark, told = access_log.mark(), len(proxy.log.read_text())
    write_pause = BUSY if name == "event_creator1" else WRITE_PAUSE
    async with load_on(base_url(proxy), cast, write_pause) as load:
        await load.all_hold()
        await fault(lab, name)
        await load.finishes()
    assert f"inbound_{name}.sock of " in proxy.log.read_text()[told:], "it was not missed"
    if name in SYNC_WORKERS:
        assert any((name, 0) in landing.attempts for landing in access_log.since(mark))
    assert load.failures == []
    assert load.failures_of("put") == []
    await assert_said_once(lab, cast, load)


@pytest.mark.timeout(180)
async def test_workers_that_stay_away_are_replaced_by_their_fallback(
    lab: Lab, impatient_proxy: Synproxy, cast: Cast
) -> None:
    away = ("login", "initial_sync1", "normal_sync1", "normal_sync2", "client_reader1")
    log = AccessLog(lab, impatient_proxy, impatient_proxy.directory / "access.log")
    async with load_on(base_url(impatient_proxy), cast) as load:
        for name in away:
            await asyncio.to_thread(lab.processes[name].kill, signal.SIGTERM)
        await load.finishes(more=1)
        mark = log.mark()
        await load.finishes(more=1)
        during = log.since(mark)
        for name in away:
            lab.processes[name].start()
        for name in away:
            await asyncio.to_thread(lab.wait_ready, name)
        await load.finishes(more=1)
        mark = log.mark()
        await load.finishes(more=1)
        after = log.since(mark)
    assert load.failures == []
    assert load.failures_of("put") == []
    assert {landing.server for landing in during}.isdisjoint(away)
    assert {landing.server for landing in after} >= set(away)
    await assert_said_once(lab, cast, load)


async def assert_said_once(lab: Lab, cast: Cast, load: Load) -> None:
    """Nothing is in the room twice, and what Synapse took is there."""
    said = await said_in(lab, cast)
    assert [text for text, times in said.items() if times > 1] == []
    assert said.keys() >= set(load.said)


async def said_in(lab: Lab, cast: Cast) -> Counter[str]:
    """How often each text is in the room, by what main says."""
    found: Counter[str] = Counter()
    token = cast.speakers[0].token
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": "127.0.0.1"}
    connector = aiohttp.UnixConnector(str(lab.places.inbound("main")))
    async with aiohttp.ClientSession("http://lab", connector=connector, headers=headers) as main:
        target = f"{V3}/rooms/{quote(cast.room)}/messages?dir=b&limit=1000"
        start = ""
        while True:
            async with main.get(f"{target}{start}") as answer:
                assert answer.status == 200
                page = await answer.json()
            texts = (event["content"].get("body") for event in page["chunk"])
            found.update(text for text in texts if text)
            if "end" not in page:
                return found
            start = f"&from={page['end']}"
