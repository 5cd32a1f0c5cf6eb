"""The admin listener over real sockets, with a supervisor that is made up."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientConnectorError, ClientSession, ServerDisconnectedError, UnixConnector

from synproxy.admin.listener import AdminListener
from synproxy.config.loader import loads
from synproxy.config.model import Config
from synproxy.runtime.control import ControlError
from synproxy.runtime.interventions import Interventions, server_called
from synproxy.runtime.listeners import InheritedSockets
from tests.support.certificates import make_certificate
from tests.support.process import free_port
from tests.support.synapse_files import SynapseFiles
from tests.unit.admin.test_page import FACTS, child

CONFIG = """\
listeners: ["127.0.0.1:1"]
admin: @ADMIN@
pools: {main: {servers: ["unix:/run/main.sock"]}}
routes: [{name: rest, location: /, pool: main}]
"""


def configured(admin: str) -> Config:
    return loads(CONFIG.replace("@ADMIN@", admin), "test")


class Supervisor:
    """What the listener asks of one."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.interventions = Interventions()
        self.inherited = InheritedSockets([])
        self.asked: list[object] = []

    async def ask_all(self, question: str, within: float = 10.0) -> list[dict[str, Any]]:
        return [child(2, 3), child(3, 4)]

    def facts(self) -> dict[str, Any]:
        return FACTS

    async def drain(self, server: str) -> dict[str, Any]:
        self.asked.append(server_called(server, self.config))
        return {"drained": self.asked}

    async def undrain(self, server: str) -> dict[str, Any]:
        raise ControlError(f"{server} is not drained")

    async def maintain(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(arguments)
        return {}


@asynccontextmanager
async def listening(admin: str) -> AsyncIterator[tuple[AdminListener, Supervisor]]:
    supervisor = Supervisor(configured(admin))
    listener = AdminListener()
    await listener.start(supervisor)
    try:
        yield listener, supervisor
    finally:
        await listener.stop()


def over(path: Path) -> ClientSession:
    return ClientSession("http://localhost", connector=UnixConnector(str(path)))


async def test_only_we_may_open_the_socket_and_it_goes_with_the_listener(sockets: Path) -> None:
    path = sockets / "admin.sock"
    async with listening(f"unix:{path}"), over(path) as client:
        assert path.stat().st_mode & 0o777 == 0o600
        for place, words in (
            ("/ready", "2 children serve"),
            ("/healthz", "ok"),
            ("/stub_status", "Active connections: 6 \nserver accepts handled requests\n 0 0 7 \n"),
            ("/status", '"level": "good"'),
            ("/metrics", "synproxy_up 1.0"),
            ("/", "<!doctype html>"),
        ):
            async with client.get(place) as answer:
                assert answer.status == 200, place
                assert words in await answer.text()
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
        async with client.get("/status", headers={"Accept": "text/html,*/*"}) as answer:
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert not path.exists()


async def test_prometheus_finds_synapses_processes(sockets: Path, tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path)
    files.shared["enable_metrics"] = True
    files.shared["listeners"].append({"type": "metrics", "port": 9000})
    files.write()
    path = sockets / "admin.sock"
    admin = f"{{listen: 'unix:{path}', synapse: [{tmp_path}/homeserver.yaml]}}"
    async with listening(admin), over(path) as client:
        async with client.get("/http_sd") as answer:
            assert answer.status == 200
            assert [group["targets"] for group in await answer.json()] == [["127.0.0.1:9000"]]
        (tmp_path / "homeserver.yaml").write_text("listeners: [")
        async with client.get("/http_sd") as answer:
            assert answer.status == 500
            assert "homeserver.yaml:1:" in await answer.text()
    async with listening(f"unix:{path}"), over(path) as client, client.get("/http_sd") as answer:
        assert answer.status == 404


async def test_changes_are_posts_of_json_and_no_page_of_a_browser_can_make_one(
    sockets: Path,
) -> None:
    path = sockets / "admin.sock"
    async with listening(f"unix:{path}") as (_, supervisor), over(path) as client:
        asked: list[tuple[int, str, dict[str, Any]]] = [
            (200, "/drain", {"json": {"server": "main"}}),
            (200, "/maintenance", {"json": {"on": True, "error": "Soon"}}),
            (400, "/drain", {"json": {"server": "other"}}),
            (400, "/undrain", {"json": {"server": "main"}}),
            (400, "/drain", {"json": {}}),
            (400, "/drain", {"json": [1]}),
            (400, "/drain", {"data": b"{", "headers": {"Content-Type": "application/json"}}),
            (
                415,
                "/drain",
                {"data": b'{"server": "main"}', "headers": {"Content-Type": "text/plain"}},
            ),
            (
                415,
                "/drain",
                {"json": {"server": "main"}, "headers": {"Origin": "http://localhost"}},
            ),
        ]
        for status, place, arguments in asked:
            async with client.post(place, **arguments) as answer:
                assert answer.status == status, (place, arguments, await answer.text())
        async with client.get("/drain") as answer:
            assert answer.status == 405
        for host, status in (("evil.example", 403), ("evil.example:80", 403), ("[::1]:9", 200)):
            async with client.get("/healthz", headers={"Host": host}) as answer:
                assert answer.status == status
        assert supervisor.asked == ["unix:/run/main.sock", {"on": True, "error": "Soon"}]


async def test_over_plain_tcp_nothing_can_be_changed() -> None:
    port = free_port()
    async with listening(f"127.0.0.1:{port}") as (_, supervisor), ClientSession() as client:
        place = f"http://127.0.0.1:{port}/drain"
        async with client.post(place, json={"server": "main"}) as answer:
            assert answer.status == 403
        assert supervisor.asked == []


async def test_over_tls_it_takes_a_client_certificate(sockets: Path) -> None:
    ours, ours_key = make_certificate(sockets, "admin", "127.0.0.1")
    theirs, theirs_key = make_certificate(sockets, "prometheus", "prometheus")
    strange, strange_key = make_certificate(sockets, "stranger", "stranger")
    port = free_port()
    admin = (
        f"{{listen: '127.0.0.1:{port}', "
        f"tls: {{certificate: {ours}, key: {ours_key}, client_ca: {theirs}}}}}"
    )
    place = f"https://127.0.0.1:{port}/drain"
    async with listening(admin) as (listener, supervisor), ClientSession() as client:
        for pair in (None, (strange, strange_key)):
            context = ssl.create_default_context(cafile=str(ours))
            if pair is not None:
                context.load_cert_chain(*pair)
            with pytest.raises((ClientConnectorError, ServerDisconnectedError, OSError)):
                await client.post(place, json={"server": "main"}, ssl=context)
        context = ssl.create_default_context(cafile=str(ours))
        context.load_cert_chain(theirs, theirs_key)
        async with client.post(place, json={"server": "main"}, ssl=context) as answer:
            assert answer.status == 200
        assert supervisor.asked == ["unix:/run/main.sock"]
        assert await listener.reload(configured(admin)) == ""
        ours_key.write_text("nothing")
        assert "no private key in PEM" in await listener.reload(configured(admin))
        async with client.post(place, json={"server": "main"}, ssl=context) as answer:
            assert answer.status == 200


async def test_a_reload_moves_it_and_one_that_cannot_leaves_it_where_it_is(sockets: Path) -> None:
    first, second = sockets / "a.sock", sockets / "b.sock"
    async with listening(f"unix:{first}") as (listener, _):
        assert await listener.reload(configured(f"unix:{first}")) == ""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            reason = await listener.reload(configured(address))
            assert reason.startswith("admin: the old listener stays: ")
        reason = await listener.reload(configured(f"unix:{sockets}/no/such/directory.sock"))
        assert "No such file or directory" in reason
        async with over(first) as client, client.get("/healthz") as answer:
            assert answer.status == 200
        assert await listener.reload(configured(f"unix:{second}")) == ""
        assert not first.exists()
        async with over(second) as client, client.get("/healthz") as answer:
            assert answer.status == 200
        assert (
            await listener.reload(
                Config.model_validate(
                    {**configured("8009").model_dump(exclude_unset=True), "admin": None}
                )
            )
            == ""
        )
        assert not second.exists()
