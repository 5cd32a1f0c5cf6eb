"""Clients that take their time, on purpose or not: what they may hold, and for how long."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.integration.harness import Proxy, ScriptedServer, becomes_true

SYNC = b"GET /sync?timeout=30000 HTTP/1.1\r\nHost: a\r\n\r\n"
POST_SYNC = b"POST /sync?timeout=30000 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


async def test_what_a_refused_client_sends_on_is_dropped_for_no_longer_than_lingering_time(
    sockets: Path,
) -> None:
    http = {"lingering_timeout": "5s", "lingering_time": "30s"}
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, http=http) as proxy:
        client = await proxy.client(b"NONSENSE\r\n\r\n")
        assert (await client.received())[0] == 400
        (connection,) = proxy.handler.connections
        begun = proxy.wheel.now
        while proxy.wheel.now < begun + 26:  # a byte now and then keeps it open
            proxy.pass_time(4)
            before = connection.deadline
            await client.send(b"x")
            await becomes_true(lambda before=before: connection.deadline != before)  # type: ignore[misc]
        assert proxy.handler.connections
        proxy.pass_time(3)
        await becomes_true(lambda: not proxy.handler.connections)


async def test_a_held_sync_is_no_slow_client(sockets: Path) -> None:
    """Whatever clients may take for a head, a body, an answer or nothing at all, who waits for its
    server is not late."""
    http = {
        "client_header_timeout": "1s",
        "client_body_timeout": "1s",
        "send_timeout": "1s",
        "keepalive_timeout": "1s",
        "lingering_time": "1s",
        "lingering_timeout": "1s",
    }
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, http=http) as proxy:
        held = []
        for request in (SYNC, POST_SYNC):
            client = await proxy.client(request)
            peer, _ = await server.request()
            held.append((client, peer))
        for _ in range(60):
            proxy.pass_time(30)
        for client, peer in held:
            await peer.answer(b"{}")
            assert await client.received() == (200, b"{}")
        assert [record.end_reason for record in await proxy.logged(2)] == ["ok", "ok"]


@pytest.mark.parametrize("jump", [-400 * 86400.0, 400 * 86400.0], ids=["back", "ahead"])
async def test_a_wall_clock_that_jumps_changes_no_timeout_and_no_duration(
    sockets: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    """Only dates are of the wall clock's time."""
    real = time.time
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, http={"keepalive_timeout": "65s"}, proxy={"read_timeout": "30s"}) as proxy,
    ):
        client = await proxy.client(SYNC)
        peer, _ = await server.request()
        proxy.pass_time(29)
        monkeypatch.setattr(time, "time", lambda: real() + jump)
        proxy.pass_time(0.5)
        await peer.answer(b"{}")
        head = await client.head()
        assert await client.read(2) == b"{}"
        date = re.search(rb"Date: [^\r]+ ([0-9]{4}) ", head)
        assert date is not None
        assert int(date[1]) == time.gmtime(real() + jump).tm_year
        (record,) = await proxy.logged()
        assert 0 <= record.duration < 60
        assert all(0 <= attempt.response_time < 60 for attempt in record.attempts)
        assert proxy.idle == 1
        proxy.pass_time(55)
        assert len(proxy.handler.connections) == 1
        await client.send(SYNC)
        await peer.head()
        proxy.pass_time(29)
        assert len(proxy.records) == 1
        proxy.pass_time(2)
        assert (await client.received())[0] == 504
