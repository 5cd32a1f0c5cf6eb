"""The shipped configuration with an admin listener, stand-ins for its workers, and a crowd."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import yaml
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, UnixConnector

from synproxy.demo.scene import LONGEST_NAME, Scene, build_scene, shipped_config
from synproxy.demo.stage import proxy, short_directory
from synproxy.demo.stand_in import StandIns
from tests.integration.harness import becomes_true
from tests.support.process import free_port

_PATHS = (  # weight, method, path
    (30, "GET", "/_matrix/client/v3/sync?since=s72_{n}&timeout=0"),
    (4, "GET", "/_matrix/client/v3/sync"),
    (8, "PUT", "/_matrix/client/v3/rooms/!r{n}:example.org/send/m.room.message/{n}"),
    (10, "GET", "/_matrix/media/v3/thumbnail/example.org/{n}"),
    (14, "PUT", "/_matrix/federation/v1/send/{n}"),
    (9, "GET", "/_matrix/federation/v1/event/${n}"),
    (6, "GET", "/_matrix/client/v3/profile/@user{n}:example.org"),
    (2, "POST", "/_matrix/client/v3/login"),
    (1, "GET", "/_synapse/admin/v1/rooms"),
)
_SYNC = "/_matrix/client/v3/sync?since=s72_1&timeout=25000"


def token(user: str) -> str:
    """Of Synapse's form; nobody issued it."""
    return f"syt_{base64.b64encode(user.encode()).decode()}_crowd_000000"


class Stage:
    """A running synproxy with its workers, which can be stopped one by one."""

    def __init__(self, directory: Path, scene: Scene, children: int, hold: str) -> None:
        self.scene = scene
        self.port = free_port()
        self.admin = free_port()
        self.config = directory / "synproxy.yaml"
        self.control = directory / "control.sock"
        self._workers: dict[str, StandIns] = {}
        scene.document.update(
            {
                "listeners": [{"listen": f"127.0.0.1:{self.port}"}],
                "children": children,
                "admin": f"127.0.0.1:{self.admin}",
                "control_socket": f"unix:{self.control}",
                "access_log": "off",
            }
        )
        for pool in scene.document["pools"].values():
            if hold and "restart_hold" in pool:
                pool["restart_hold"] = hold
        scene.write(self.config)

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.admin}/"

    async def start_worker(self, name: str) -> None:
        workers = StandIns({name: self.scene.sockets[name]})
        await workers.__aenter__()
        self._workers[name] = workers

    async def stop_worker(self, name: str) -> None:
        await self._workers.pop(name).__aexit__()

    async def stop_workers(self) -> None:
        for name in list(self._workers):
            await self.stop_worker(name)


@contextlib.asynccontextmanager
async def stage(children: int = 1, hold: str = "") -> AsyncIterator[Stage]:
    """All workers up, nobody there yet. ``hold``: how long requests wait for one that is not, where
    it is not as shipped."""
    with short_directory(LONGEST_NAME) as directory:
        built = Stage(directory, build_scene(shipped_config(), directory, 0, "off"), children, hold)
        try:
            for name in built.scene.sockets:
                await built.start_worker(name)
            async with proxy(built.config, built.port):
                await becomes_true(lambda: _accepts(built.admin), within=110)
                yield built
        finally:
            await built.stop_workers()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Crowd:
    """Users who ask for this and that, some of them with a held sync all the time."""

    def __init__(self, port: int, *, asking: int, syncing: int, pause: float) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._asking, self._syncing, self._pause = asking, syncing, pause
        self._tasks: list[asyncio.Task[None]] = []
        self._random = random.Random(72)

    async def __aenter__(self) -> Self:
        self._session = ClientSession(
            connector=TCPConnector(limit=0), timeout=ClientTimeout(total=60)
        )
        self._tasks = [
            *(asyncio.create_task(self._ask(number)) for number in range(self._asking)),
            *(asyncio.create_task(self._sync(number)) for number in range(self._syncing)),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def _ask(self, number: int) -> None:
        chosen = self._random
        weights = [weight for weight, _, _ in _PATHS]
        while True:
            _, method, path = chosen.choices(_PATHS, weights)[0]
            await self._send(method, path.format(n=chosen.randrange(999)), chosen.randrange(400))
            await asyncio.sleep(chosen.expovariate(1 / self._pause))

    async def _sync(self, number: int) -> None:
        while True:
            await self._send("GET", _SYNC, 1000 + number)
            await asyncio.sleep(self._pause)

    async def _send(self, method: str, path: str, user: int) -> None:
        headers = {"Authorization": f"Bearer {token(f'user{user}')}"}
        if "/federation/" in path:
            headers = {"Authorization": f'X-Matrix origin="hs{user}.example",key="k",sig="s"'}
        with contextlib.suppress(ClientError, TimeoutError):
            async with self._session.request(method, self._base + path, headers=headers) as answer:
                await answer.read()


def admin_session(socket: Path) -> ClientSession:
    """For an admin listener on a UNIX socket."""
    return ClientSession("http://localhost", connector=UnixConnector(str(socket)))


def rewritten(config: Path, **settings: object) -> None:
    """Change settings of a configuration file."""
    document = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**document, **settings}, sort_keys=False))
