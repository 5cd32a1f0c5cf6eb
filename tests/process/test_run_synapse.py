"""`synproxy run --synapse` serves what Synapse's files describe, and reads them again on SIGHUP."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.harness import becomes_true
from tests.support.process import ProxyProcess
from tests.support.synapse_files import SynapseFiles, http

MISTAKE = "homeserver.yaml:12:18: max_upload_size"


class FromSynapse(ProxyProcess):
    """synproxy over Synapse's files."""

    name = "synproxy"

    def __init__(self, directory: Path, files: SynapseFiles) -> None:
        super().__init__(directory)
        self.paths = files.write()

    def command(self) -> Sequence[str]:
        return [
            *(sys.executable, "-m", "synproxy.cli.main", "run"),
            *("--synapse", *map(str, self.paths), "--listen", f"127.0.0.1:{self.port}"),
        ]


@pytest.fixture
def run() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="syn") as directory:
        yield Path(directory)


def deployment(run: Path) -> SynapseFiles:
    files = SynapseFiles(run)
    files.shared["listeners"] = [http(f"{run}/main.sock", "client", "federation")]
    return files


def with_worker(files: SynapseFiles, run: Path) -> SynapseFiles:
    return files.worker("sync1", worker_listeners=[http(f"{run}/sync1.sock", "client")])


class Named:
    """A stand-in for a process of Synapse, which answers everything with its name."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, str(self._socket))

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                name = self._socket.stem.encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name))
        writer.close()


async def who_syncs(proxy: FromSynapse) -> str:
    """Whose answer a sync gets."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    head = "GET /_matrix/client/v3/sync HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.partition(b"\r\n\r\n")[2].decode()


async def test_requests_follow_synapses_files_and_their_changes(run: Path) -> None:
    async with Named(run / "main.sock"), Named(run / "sync1.sock"):
        with FromSynapse(run, with_worker(deployment(run), run)) as proxy:
            assert await who_syncs(proxy) == "sync1"
            (run / "workers" / "sync1.yaml").write_text("# gone\n")
            os.kill(proxy.pid, signal.SIGHUP)
            await becomes_true(lambda: "reloaded: " in proxy.log.read_text())
            assert await who_syncs(proxy) == "main"


async def test_a_mistake_in_synapses_files_leaves_the_old_ones_in_force(run: Path) -> None:
    async with Named(run / "main.sock"):
        with FromSynapse(run, deployment(run)) as proxy:
            deployment(run).set(max_upload_size="much").write()
            os.kill(proxy.pid, signal.SIGHUP)
            await becomes_true(lambda: MISTAKE in proxy.log.read_text())
            assert "reload failed" in proxy.log.read_text()
            assert await who_syncs(proxy) == "main"


def test_it_does_not_start_with_a_mistake(run: Path) -> None:
    proxy = FromSynapse(run, deployment(run).set(max_upload_size="much"))
    with pytest.raises(RuntimeError, match=MISTAKE):
        proxy.start()
