"""Servers that live, servers that do not, and what is said about each."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from synproxy.cli.doctor.identity import Identity
from synproxy.cli.doctor.servers import Server, check_pools, check_versions, visit_servers
from tests.support.fake_synapse import FakeSynapse
from tests.support.process import free_port
from tests.unit.cli.doctor.compiled import config

ME = Identity.current()


def pools(**addresses: list[Any]) -> dict[str, Any]:
    return {"pools": {name: {"servers": servers} for name, servers in addresses.items()}}


async def visit(address: str, patience: float = 5.0) -> Server:
    servers = await visit_servers(config(**pools(main=[address])), ME, patience)
    return servers[address]


async def test_a_living_server_is_connected_healthy_and_has_a_version(sockets: Path) -> None:
    async with FakeSynapse().on(sockets / "a") as address:
        (sockets / "a").chmod(0o660)
        server = await visit(address)
    assert server.socket.status == "ok"
    assert server.socket.reason == "root can connect (mode 0660, owner root:root)"
    assert server.health is not None
    assert (server.health.status, server.health.reason) == ("ok", "GET /health: 200")
    assert server.healthy
    assert server.version == "1.157.1"


async def test_a_tcp_server_is_visited_too() -> None:
    async with FakeSynapse().on_port() as address:
        server = await visit(address)
    assert (server.socket.status, server.socket.reason) == ("ok", "accepts connections")
    assert server.healthy


async def test_nobody_listens_on_the_port() -> None:
    server = await visit(f"127.0.0.1:{free_port()}")
    assert (server.socket.status, server.socket.reason) == ("fail", "Connection refused")
    assert server.socket.remedy == "start the process, or correct the address"


async def test_a_missing_socket_is_shown_beside_those_that_are_there(sockets: Path) -> None:
    async with FakeSynapse().on(sockets / "inbound_sync1.sock"):
        server = await visit(f"unix:{sockets}/inbound_sync.sock")
    assert server.socket.status == "fail"
    assert server.socket.reason == "no such file: its directory has inbound_sync1.sock"
    assert "start the worker" in server.socket.remedy
    assert server.health is None


async def test_a_missing_directory_is_named(sockets: Path) -> None:
    server = await visit(f"unix:{sockets}/none/a.sock")
    assert server.socket.reason == f"no such file: there is no directory {sockets}/none"


async def test_a_socket_whose_process_has_gone(sockets: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{sockets}/a")
    server = await visit(f"unix:{sockets}/a")
    assert server.socket.status == "fail"
    assert "its process has gone" in server.socket.reason
    assert server.socket.remedy == "start the worker again"


async def test_a_file_that_is_no_socket(sockets: Path) -> None:
    (sockets / "a").write_text("")
    server = await visit(f"unix:{sockets}/a")
    assert (server.socket.status, server.socket.reason) == ("fail", "a file that is no socket")


async def test_a_process_that_accepts_nothing_any_more(sockets: Path) -> None:
    waiting = []
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(f"{sockets}/a")
        stuck.listen(0)
        for _ in range(2):  # fills the queue of a UNIX socket
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            waiting.append(client)
            client.connect_ex(f"{sockets}/a")
        server = await visit(f"unix:{sockets}/a")
    for client in waiting:
        client.close()
    assert server.socket.status == "fail"
    assert "queue of connections is full" in server.socket.reason
    assert "stuck" in server.socket.remedy


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_a_server_that_says_it_is_not_healthy(sockets: Path, status: int) -> None:
    async with FakeSynapse(health=status).on(sockets / "a") as address:
        server = await visit(address)
    assert server.socket.status == "ok"
    assert server.health is not None
    assert server.health.status == "fail"
    assert server.health.reason == f"GET /health: {status} from Synapse/1.157.1"
    assert not server.healthy


async def test_a_pool_may_check_another_path(sockets: Path) -> None:
    synapse = FakeSynapse(overrides={"/ready": (200, {})}, health=503)
    async with synapse.on(sockets / "a") as address:
        pool = {"servers": [address], "health_check": {"path": "/ready"}}
        servers = await visit_servers(config(pools={"main": pool}), ME, 5)
    health = servers[address].health
    assert health is not None
    assert (health.status, health.reason) == ("ok", "GET /ready: 200")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "GET /health: no answer within 0.2 s"),
        (b"SSH-2.0-x\r\n", "GET /health: no HTTP answer"),
    ],
)
async def test_a_server_that_does_not_speak_http(sockets: Path, answer: bytes, reason: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(talk, sockets / "a"):
        server = await visit(f"unix:{sockets}/a", patience=0.2)
    assert server.health is not None
    assert server.health.status == "fail"
    assert server.health.reason.startswith(reason)


async def test_every_server_is_visited_once_and_those_marked_down_are_not(sockets: Path) -> None:
    synapse = FakeSynapse()
    async with synapse.on(sockets / "a") as address:
        down = {"address": f"unix:{sockets}/b", "down": True}
        servers = await visit_servers(config(**pools(main=[address, down], x=[address])), ME, 5)
    assert list(servers) == [address]
    assert [request.path for request in synapse.asked] == ["/health"]


@pytest.mark.parametrize(
    ("names", "status", "reason", "remedy"),
    [
        (["a"], "ok", "1 server answers", ""),
        (["a", "b"], "ok", "2 servers answer", ""),
        (["a", "gone"], "warn", "1 of 2 servers answer; not {gone}", "the lines about these"),
        (["gone"], "fail", "no server answers: its requests fail with 502", "the lines about its"),
    ],
)
async def test_a_pool_answers_with_some_of_its_servers(
    sockets: Path, names: list[str], status: str, reason: str, remedy: str
) -> None:
    addresses = [f"unix:{sockets}/{name}" for name in names]
    async with FakeSynapse().on(sockets / "a"), FakeSynapse().on(sockets / "b"):
        asked = config(**pools(main=addresses))
        (found,) = check_pools(asked, await visit_servers(asked, ME, 5))
    assert (found.check, found.subject, found.status) == ("pool", "main", status)
    assert found.reason == reason.format(gone=f"unix:{sockets}/gone")
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("last", "status", "reason"),
    [
        ("a", "warn", "no server answers: its requests go to pool last (fallback)"),
        ("gone", "fail", "no server answers: its requests fail with 502"),
    ],
)
async def test_a_pool_without_servers_has_its_fallbacks(
    sockets: Path, last: str, status: str, reason: str
) -> None:
    pools = {
        "first": {"servers": [f"unix:{sockets}/gone1"], "fallback": "second"},
        "second": {"servers": [f"unix:{sockets}/gone2"], "fallback": "last"},
        "last": {"servers": [f"unix:{sockets}/{last}"]},
    }
    routes = [{"name": "all", "location": "/", "pool": "first"}]
    async with FakeSynapse().on(sockets / "a"):
        asked = config(pools=pools, routes=routes)
        found = list(check_pools(asked, await visit_servers(asked, ME, 5)))
    assert [each.subject for each in found] == ["first", "second", "last"]
    assert [(each.status, each.reason) for each in found[:2]] == [(status, reason)] * 2


@pytest.mark.parametrize(
    ("versions", "status", "reason", "remedy"),
    [
        (["Synapse/1.157.1", "Synapse/1.157.1"], "ok", "Synapse 1.157.1 on 2 servers", ""),
        (
            ["Synapse/1.157.1", "Synapse/1.99.0 (b=x)"],
            "warn",
            "several versions of Synapse: 1.99.0, 1.157.1",
            "restart unix:{b}",
        ),
        (["nginx/1.22", ""], "skip", "no server says which version of Synapse it is", ""),
    ],
)
async def test_all_processes_are_of_one_version(
    sockets: Path, versions: list[str], status: str, reason: str, remedy: str
) -> None:
    first, second = (FakeSynapse(version=version) for version in versions)
    async with first.on(sockets / "a") as a, second.on(sockets / "b") as b:
        found = check_versions(await visit_servers(config(**pools(main=[a, b])), ME, 5))
    assert (found.status, found.reason) == (status, reason)
    assert found.remedy == remedy.format(b=sockets / "b")
