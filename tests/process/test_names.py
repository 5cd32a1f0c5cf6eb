"""A running synproxy follows its workers' names, through changes, failures and reloads."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import urlopen

import pytest

from tests.integration.test_names import Workers
from tests.support.name_server import NameServer, name_server
from tests.support.synproxy import Synproxy

T = TypeVar("T")
HOSTS = ("127.0.0.21", "127.0.0.22", "127.0.0.23")
CONFIG = """\
listeners: ["127.0.0.1:@PORT@"]
access_log: "off"
children: 2
resolver: {nameservers: ["@DNS@"], valid: 100ms}
pools:
  workers: {servers: [{address: "workers.example.org:@WORKERS@", resolve: on}]}
  service: {servers: [{address: _synapse._tcp.example.org, resolve: on}]}
routes:
  - {name: service, location: /service, pool: service}
  - {name: all, location: /, pool: workers}
"""


class Elsewhere:
    """A name server and workers, in a loop in a thread of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._stack = AsyncExitStack()
        self.workers = Workers()
        self.names: NameServer

    def __enter__(self) -> Elsewhere:
        self._thread.start()
        self.names = self._run(self._stack.enter_async_context(name_server()))
        self._run(self.workers.start(*HOSTS))
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self.workers.stop)
        self._run(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def say(self, *hosts: str) -> None:
        """What is behind the names from now on."""
        records = {(f"w{host[-1]}.example.org.", "A"): [host] for host in hosts}
        records["workers.example.org.", "A"] = list(hosts)
        records["_synapse._tcp.example.org.", "SRV"] = [
            f"0 0 {self.workers.port} w{host[-1]}.example.org." for host in hosts
        ]
        self.names.records = records


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere() as found:
        yield found


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_running_synproxy_follows_names(elsewhere: Elsewhere, tmp_path: Path) -> None:
    elsewhere.say(*HOSTS[:2])
    values = {"@DNS@": elsewhere.names.address, "@WORKERS@": str(elsewhere.workers.port)}
    with Synproxy(tmp_path, CONFIG, values) as proxy:

        def ask(path: str) -> str:
            with urlopen(f"http://127.0.0.1:{proxy.port}{path}", timeout=60) as answer:
                body: bytes = answer.read()
            return body.decode()

        def seen() -> list[set[str]]:
            return [{ask(path) for _ in range(8)} for path in ("/", "/service")]

        assert seen() == [set(HOSTS[:2])] * 2
        elsewhere.say(*HOSTS)
        until(lambda: seen() == [set(HOSTS)] * 2)
        elsewhere.say(HOSTS[2])
        until(lambda: seen() == [{HOSTS[2]}] * 2)

        doctor = [sys.executable, "-m", "synproxy.cli.main", "doctor", "--json"]
        said = subprocess.run(
            [*doctor, "--config", str(proxy.file)], capture_output=True, timeout=60, check=False
        )
        findings = json.loads(said.stdout)["findings"]
        named = {one["subject"]: one for one in findings if one["check"] == "name"}
        assert {one["status"] for one in named.values()} == {"ok"}
        address = f"{HOSTS[2]}:{elsewhere.workers.port}"
        assert address in named[f"workers.example.org:{elsewhere.workers.port}"]["reason"]
        sockets = {one["subject"]: one["status"] for one in findings if one["check"] == "socket"}
        assert sockets == {address: "ok"}

        elsewhere.names.broken = True
        until(lambda: "the last answer holds" in proxy.log.read_text())
        os.kill(proxy.pid, signal.SIGHUP)
        until(lambda: "reloaded" in proxy.log.read_text())
        assert seen() == [{HOSTS[2]}] * 2
        elsewhere.names.broken = False
        elsewhere.say(HOSTS[0])
        until(lambda: seen() == [{HOSTS[0]}] * 2)
