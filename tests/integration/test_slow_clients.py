"""Clients that take their time, on purpose or not: what they may hold, and for how long."""

from __future__ import annotations

from pathlib import Path

from tests.integration.harness import Proxy, ScriptedServer, becomes_true


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
