"""Workers that are killed and restarted under load: who holds a sync or sends a GET sees nothing of
it, and no POST is done twice."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.harness import Peer, becomes_true
from tests.support.synproxy import ROOT, Synproxy

CONFIG = """\
listeners: ["127.0.0.1:@PORT@"]
access_log: off
pools:
  sync:
    servers: ["unix:@RUN@/1.sock", "unix:@RUN@/2.sock"]
    balance: {hash: $arg_user}
    restart_hold: 30s
  send: {servers: ["unix:@RUN@/1.sock"], restart_hold: 30s}
routes:
  - {name: sync, location: /, pool: sync}
  - {name: send, location: /send, pool: send}
"""


class MortalWorker:
    """One worker process on its socket; dies with the test."""

    def __init__(self, run: Path, name: str) -> None:
        self.path = run / f"{name}.sock"
        self.log = run / "posts.log"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        command = [sys.executable, "-m", "tests.support.mortal_worker"]
        command += [str(self.path), str(self.log)]
        self._process = await asyncio.to_thread(subprocess.Popen, command, cwd=ROOT)
        await self._answers()

    async def _answers(self) -> None:
        for _ in itertools.count():
            assert self._process is not None
            assert self._process.poll() is None
            try:
                await self.ask(b"/ready")
            except OSError:
                await asyncio.sleep(0.01)
            else:
                return

    async def ask(self, target: bytes) -> int:
        """A request past the proxy; how many syncs the worker holds."""
        peer = Peer(*await asyncio.open_unix_connection(str(self.path)))
        try:
            await peer.send(b"GET %b HTTP/1.1\r\nHost: worker\r\n\r\n" % target)
            status, body = await peer.received()
            assert status == 200
            return int(body)
        finally:
            peer.close()

    def kill(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait()


class Load:
    """Clients that send one request after the other until they are told to stop."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = False
        self.answers: Counter[tuple[str, int]] = Counter()
        self.done: list[bytes] = []

    async def gets(self, user: int) -> None:
        peer = await self._connect()
        while not self._stop:
            await peer.send(b"GET /x?user=%d HTTP/1.1\r\nHost: a\r\n\r\n" % user)
            status, _ = await peer.received()
            self.answers["GET", status] += 1
        peer.close()

    async def posts(self, user: int) -> None:
        peer = await self._connect()
        for number in itertools.count():
            if self._stop:
                break
            body = b"%d.%d" % (user, number)
            await peer.send(
                b"POST /send HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body), body
            )
            status, _ = await peer.received()
            self.answers["POST", status] += 1
            if status == 200:
                self.done.append(body)
        peer.close()

    async def _connect(self) -> Peer:
        return Peer(*await asyncio.open_connection("127.0.0.1", self._port))

    async def goes_on(self, count: int = 100) -> None:
        """Waits until so many more requests have been answered."""
        before = self.answers.total()
        await becomes_true(lambda: self.answers.total() >= before + count)

    def stop(self) -> None:
        self._stop = True


@pytest.fixture
def run() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="syn") as directory:
        yield Path(directory)


@pytest.fixture
def workers(run: Path) -> Iterator[list[MortalWorker]]:
    made = [MortalWorker(run, "1"), MortalWorker(run, "2")]
    yield made
    for worker in made:
        worker.kill(signal.SIGKILL)


def told(proxy: Synproxy, worker: MortalWorker, status: str) -> int:
    """How often the log has said that of a worker."""
    text = proxy.log.read_text()
    return text.count(f"server unix:{worker.path} of sync, send is {status}") + text.count(
        f"server unix:{worker.path} of sync is {status}"
    )


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_no_get_fails_and_no_post_is_done_twice(
    run: Path, workers: list[MortalWorker], loop: str
) -> None:
    for worker in workers:
        await worker.start()
    with Synproxy(run, CONFIG, loop=loop) as proxy:
        load = Load(proxy.port)
        clients = [asyncio.create_task(load.gets(user)) for user in range(8)]
        clients += [asyncio.create_task(load.posts(user)) for user in range(3)]
        await load.goes_on()
        for how in (signal.SIGTERM, signal.SIGKILL):
            for worker in workers:
                seen = told(proxy, worker, "restarting")
                worker.kill(how)
                await becomes_true(lambda: told(proxy, worker, "restarting") > seen)  # noqa: B023
                await worker.start()
                await becomes_true(
                    lambda: told(proxy, worker, "up") == told(proxy, worker, "restarting")  # noqa: B023
                )
                await load.goes_on()
        load.stop()
        await asyncio.gather(*clients)
    written = Counter((run / "posts.log").read_bytes().split())
    assert set(load.answers) <= {("GET", 200), ("POST", 200), ("POST", 502)}
    assert [body for body, times in written.items() if times > 1] == []
    assert all(written[body] == 1 for body in load.done)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_held_syncs_are_held_by_the_new_process(
    run: Path, workers: list[MortalWorker], loop: str, how: signal.Signals
) -> None:
    for worker in workers:
        await worker.start()
    with Synproxy(run, CONFIG, loop=loop) as proxy:
        clients = []
        for user in range(120):
            client = Peer(*await asyncio.open_connection("127.0.0.1", proxy.port))
            clients.append(client)
            await client.send(b"GET /sync?user=%d HTTP/1.1\r\nHost: a\r\n\r\n" % user)
        held = 0
        while held < len(clients):
            held = sum([await worker.ask(b"/x") for worker in workers])
        for worker in workers:
            worker.kill(how)
        for worker in workers:
            await becomes_true(lambda: told(proxy, worker, "restarting") == 1)  # noqa: B023
            await worker.start()
            await worker.ask(b"/news")
        for client in clients:
            assert (await client.received())[0] == 200
            client.close()
