"""Each fault, met by each kind of request, on both event loops."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Final

import pytest

from synproxy.observe.formats import combined_upstream
from tests.faults.peers import Client
from tests.faults.report import DOCUMENT, render
from tests.faults.requests import Kind
from tests.faults.scenes import CONNECT_TIMEOUT, READ_TIMEOUT, SEND_TIMEOUT, Stage
from tests.faults.table import FAULTS, FAULTY, OTHER, Fault, Result
from tests.integration.harness import Proxy, ScriptedServer, becomes_true

STILL_GOOD: Final = b"GET /good HTTP/1.1\r\nHost: example.org\r\n\r\n"
GOOD: Final = (
    b"HTTP/1.1 204 No Content\r\nServer: synproxy\r\nDate: -\r\n"
    b"Access-Control-Allow-Origin: *\r\n"
    b"Access-Control-Allow-Methods: GET, HEAD, POST, PUT, DELETE, OPTIONS\r\n"
    b"Access-Control-Allow-Headers: X-Requested-With, Content-Type, Authorization, Date\r\n"
    b"Access-Control-Expose-Headers: Synapse-Trace-Id, Server\r\n\r\n"
)
KEEPALIVE: Final = 60.0
_LINE: Final = re.compile(rb'" (\d{3}) \d+ .* upstream="(.*?)" ustatus="(.*?)" .* end=(\w+)\n')

BLAMELESS: Final = ("stale", "exhausted")
"""What says nothing about the server (``max_fails``)."""

CELLS: Final = [
    pytest.param(fault, kind, id=f"{fault.name}: {kind.name}")
    for fault in FAULTS
    for kind in fault.results
]


def configuration(faulty: ScriptedServer, other: ScriptedServer) -> dict[str, object]:
    return {
        "http": {"server_tokens": False, "client_max_body_size": "10m"},
        "proxy": {
            "connect_timeout": CONNECT_TIMEOUT,
            "read_timeout": READ_TIMEOUT,
            "send_timeout": SEND_TIMEOUT,
        },
        "pools": {
            "pool": {
                "servers": [
                    {"address": faulty.address},
                    {"address": other.address, "backup": True},
                ],
                "keepalive_timeout": KEEPALIVE,
            }
        },
        "routes": [
            {"name": "all", "location": "/", "pool": "pool"},
            {"name": "good", "location": "= /good", "respond": {"status": 204}},
        ],
    }


async def serve_well(server: ScriptedServer, kind: Kind) -> None:
    """What the other server does: it is never asked for half a request, and never twice."""
    peer, head = await server.request()
    assert head.startswith(kind.method + b" /x HTTP/1.1\r\n")
    assert await peer.read(kind.announced) == kind.body
    await peer.answer(b"next")


async def has_ended(proxy: Proxy) -> None:
    """Nobody is connected, and nothing is left but what is idle."""
    await becomes_true(lambda: not proxy.handler.connections)
    await becomes_true(lambda: len(proxy.wheel) == proxy.idle)
    assert not any(pool.balancer.in_use for pool in proxy.generation.pools.values())
    proxy.pass_time(KEEPALIVE + 1)
    await becomes_true(lambda: len(proxy.wheel) == 0)
    assert proxy.idle == 0


def told_of(line: bytes, names: dict[str, str]) -> tuple[int, tuple[tuple[str, int], ...], str]:
    """Status, the servers with what they answered, and the reason, in a line of the log."""
    found = _LINE.search(line)
    assert found is not None, line
    servers = [names[address] for address in found[2].decode().split(", ")]
    statuses = [int(status.replace("-", "0")) for status in found[3].decode().split(", ")]
    return int(found[1]), tuple(zip(servers, statuses, strict=True)), found[4].decode()


@pytest.mark.parametrize(("fault", "kind"), CELLS)
async def test_a_fault_has_its_result_and_leaves_nothing_behind(
    sockets: Path, told: pytest.LogCaptureFixture, fault: Fault, kind: Kind
) -> None:
    expected = fault.results[kind]
    async with (
        fault.server(sockets / FAULTY) as faulty,
        fault.next_server(sockets / OTHER) as other,
        Proxy(configuration(faulty, other)) as proxy,
    ):
        names = {faulty.address: FAULTY, other.address: OTHER}
        serving = asyncio.create_task(serve_well(other, kind))
        client = await Client.of(proxy)
        stage = Stage(proxy, faulty, client, kind)
        await fault.before(stage)
        before = len(proxy.records)
        if OTHER in dict(expected.asked) and other.path.exists():
            other.path.chmod(0o666)
        with fault.around():
            client.write(kind.head + kind.body)
            await fault.scene(stage)
            record = (await proxy.logged(before + 1))[before]
        await client.gets(expected.client)
        if expected.end == "open":
            received = client.received
            client.write(STILL_GOOD)
            await client.gets(received + GOOD)
            assert client.received == received + GOOD
        else:
            await client.end()
            received = client.received
        status, asked, reason = told_of(combined_upstream(record), names)
        end = client.ended or "open"
        assert Result(expected.verdict, received, end, status, asked, reason) == expected
        warned = [one.getMessage().partition(":")[0] for one in told.records]
        assert warned == [fault.word] * sum(not status for _, status in asked)
        assert other.accepted == sum(name == OTHER and status > 0 for name, status in asked)
        client.leave()
        await has_ended(proxy)
        failed = expected.asked[0][1] == 0 or expected.reason.startswith("upstream_")
        blamed = proxy.generation.pools["pool"].balancer._peers[0].fails
        assert blamed == (failed and fault.word not in BLAMELESS)
        serving.cancel()
        if stage.faulty is not faulty:
            stage.faulty.stop()


def test_the_page_is_current() -> None:
    assert DOCUMENT.read_text() == render(), "make faults writes it anew"
