"""``synproxy drain``, ``maintenance``, ``status`` and ``top`` over a running synproxy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from synproxy.runtime.control import Control
from tests.integration.harness import Peer, ScriptedServer, becomes_true
from tests.support.synproxy import Synproxy

CONFIG = """\
listeners: ["127.0.0.1:@PORT@"]
access_log: "off"
children: 2
admin: unix:@RUN@/admin.sock
control_socket: unix:@RUN@/control.sock
pools:
  sync: {servers: ["unix:@RUN@/one.sock", "unix:@RUN@/two.sock"]}
routes:
  - {name: all, location: /, pool: sync}
"""


def command(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    where = ["--socket", str(directory / "control.sock")]
    return subprocess.run(
        [sys.executable, "-m", "synproxy", *words, *where],
        capture_output=True,
        text=True,
        timeout=60,
    )


async def run(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(command, directory, *words)


async def statuses(proxy: Synproxy, count: int, path: str = "/") -> list[int]:
    """Of requests on connections of their own, so that both children have some."""
    found = []
    for _ in range(count):
        peer = Peer(*await asyncio.open_connection("127.0.0.1", proxy.port))
        await peer.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        found.append(int((await peer.to_end())[9:12]))
        peer.close()
    return found


async def serve(server: ScriptedServer) -> None:
    async def answer(peer: Peer) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            while True:
                await peer.head()
                await peer.answer()

    async with asyncio.TaskGroup() as group:
        while True:
            with contextlib.suppress(TimeoutError):
                group.create_task(answer(await server.connection()))


async def ask(directory: Path, question: str, **arguments: Any) -> dict[str, Any]:
    """What a command asks, without the time that it takes to start one."""
    path = str(directory / "control.sock")
    _, control = await asyncio.get_running_loop().create_unix_connection(Control, path)
    answer = await control.ask(question, 60, **arguments)
    control.close()
    return answer


async def test_drain_and_maintenance_outlive_reloads_children_and_upgrades(sockets: Path) -> None:
    async with ScriptedServer(sockets / "one.sock") as one, ScriptedServer(sockets / "two.sock"):
        task = asyncio.create_task(serve(one))
        with Synproxy(sockets, CONFIG) as proxy:
            await becomes_true((sockets / "admin.sock").exists, within=110)
            # Nobody answers at the other: who is sent there waits for ever.
            done = await run(sockets, "drain", "two")
            assert done.returncode == 0, done.stderr
            assert done.stdout == f"drained: unix:{sockets}/two.sock\nmaintenance: off\n"
            assert await statuses(proxy, 8) == [200] * 8
            first = (await ask(sockets, "overview"))["children"]
            os.kill(first[0], signal.SIGKILL)

            async def replaced() -> bool:
                children = (await ask(sockets, "overview"))["children"]
                return len(children) == 2 and first[0] not in children

            async with asyncio.timeout(30):
                while not await replaced():
                    pass
            await ask(sockets, "reload")
            assert await statuses(proxy, 8) == [200] * 8

            done = await run(sockets, "maintenance", "on", "--error", "Soon", "--retry-after", "5m")
            assert done.returncode == 0, done.stderr
            assert await statuses(proxy, 4) == [503] * 4
            assert await statuses(proxy, 2, "/health") == [200] * 2
            told = await run(sockets, "status")
            assert "maintenance is on: clients get 503, Soon" in told.stdout
            assert re.search(r"two +drained", told.stdout)
            words = ("explain", "GET", "/x", "--running", "--config", str(proxy.file))
            assert "maintenance is on" in (await run(sockets, *words)).stdout

            before = (await ask(sockets, "overview"))["pid"]
            await ask(sockets, "upgrade")
            after = await ask(sockets, "overview")
            try:
                assert after["pid"] != before
                assert after["interventions"]["error"] == "Soon"
                assert await statuses(proxy, 4) == [503] * 4
                await ask(sockets, "maintenance", on=False)
                assert await statuses(proxy, 8) == [200] * 8
                done = await run(sockets, "undrain", "tow")
                assert (done.returncode, done.stdout) == (1, "")
                assert 'did you mean "two"' in done.stderr
                done = await run(sockets, "drain", "one")
                assert "pool sync has no other server" in done.stderr
                done = await run(sockets, "status", "--json")
                assert done.returncode == 3
                assert json.loads(done.stdout)["level"] == "critical"
                assert await statuses(proxy, 2) == [502] * 2
            finally:
                os.kill(after["pid"], signal.SIGTERM)
        task.cancel()


def started_on(terminal: int, directory: Path) -> subprocess.Popen[bytes]:
    """``synproxy top``. Who runs the tests in the background may have told them to ignore SIGINT,
    which is inherited."""
    top = [sys.executable, "-m", "synproxy", "top", "--socket", str(directory / "control.sock")]
    return subprocess.Popen(
        ["env", "--default-signal=INT", *top],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "160", "LINES": "40"},
    )


def read_screen(master: int, mark: bytes) -> bytes:
    seen = b""
    while mark not in seen:
        seen += os.read(master, 65536)
    return seen


def read_to_end(master: int) -> None:
    """A terminal that nobody reads from stops whoever writes."""
    with suppress(OSError):  # EIO: nobody has the other end any more
        while os.read(master, 65536):
            pass


async def test_top_shows_it_on_a_terminal(sockets: Path) -> None:
    with Synproxy(sockets, CONFIG):
        await becomes_true((sockets / "admin.sock").exists, within=110)
        master, slave = pty.openpty()
        top = started_on(slave, sockets)
        os.close(slave)
        try:
            async with asyncio.timeout(30):
                screen = await asyncio.to_thread(read_screen, master, b"two")
            assert b"everything is up" in screen
            top.send_signal(signal.SIGINT)
            await asyncio.wait_for(asyncio.to_thread(read_to_end, master), 20)
            assert await asyncio.to_thread(top.wait, 20) == 130
        finally:
            top.kill()
            top.wait()
            os.close(master)
        # Nobody is asked to read control sequences in a file.
        done = await run(sockets, "top")
        assert done.returncode == 1
        assert "synproxy status" in done.stderr
