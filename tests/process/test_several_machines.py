"""Two synproxy hosts behind a balancer, with the shipped files, on machines of their own."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from synproxy.config.loader import load
from tests.support.namespaces import Network, network

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "config" / "several-machines.yaml"
BALANCER = ROOT / "config" / "several-machines.haproxy.cfg"
CLIENT, WORKERS = "192.0.2.2", ("192.0.2.21", "192.0.2.22", "192.0.2.23")
USERS = [f"user{number}" for number in range(40)]


def test_the_shipped_file_loads() -> None:
    config = load(FILE)
    assert config.listeners[0].proxy_protocol is not None
    assert {server.address for server in config.pools["sync"].servers} == {
        f"{host}:8008" for host in WORKERS
    }


class Workers:
    """Synapse's place: answers with its own address, its peer's, and what X-Forwarded-For said.
    A sync with ``hold`` waits until :attr:`release`."""

    def __init__(self, machines: Network) -> None:
        self.release = threading.Event()
        self.held = threading.Semaphore(0)
        self._listening = [
            machines.listen("workers", host, 8008) for host in ("192.0.2.20", *WORKERS)
        ]
        for listening in self._listening:
            threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, peer = listening.accept()
                arguments = connection, peer[0], listening.getsockname()[0]
                threading.Thread(target=self._serve, args=arguments, daemon=True).start()

    def _serve(self, connection: socket.socket, peer: str, own: str) -> None:
        with connection, connection.makefile("rb") as reader, suppress(OSError):
            while line := reader.readline():
                fields = dict(one.split(b": ", 1) for one in iter(reader.readline, b"\r\n") if one)
                if b"hold" in line:
                    self.held.release()
                    self.release.wait(60)
                told = fields.get(b"X-Forwarded-For", b"").strip().decode()
                body = f"{own} {peer} {told}".encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
                connection.sendall(body)

    def close(self) -> None:
        for listening in self._listening:
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()


@contextmanager
def running(machines: Network, machine: str, log: Path, *command: str) -> Iterator[int]:
    """A program on a machine; its process group."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            machines.command(machine, *command),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


class Client:
    """A connection to the balancer."""

    def __init__(self, machines: Network) -> None:
        self.socket = machines.connect("hub", "192.0.2.10", 8000)
        self.socket.settimeout(20)
        self._reader = self.socket.makefile("rb")

    def send(self, user: str, query: str = "") -> None:
        name = base64.urlsafe_b64encode(user.encode()).rstrip(b"=").decode()
        self.socket.sendall(
            f"GET /_matrix/client/v3/sync{query} HTTP/1.1\r\nHost: a\r\n"
            f"Authorization: Bearer syt_{name}_xxxxxxxxxxxxxxxxxxxx_000000\r\n\r\n".encode()
        )

    def answer(self) -> list[str]:
        """The worker, the synproxy host and the client as the worker saw it; nothing: cut."""
        head: list[bytes] = []
        while (line := self._reader.readline()) != b"\r\n":
            if not line:
                return []
            head.append(line)
        assert head[0].startswith(b"HTTP/1.1 200"), head
        (length,) = [line for line in head if line.lower().startswith(b"content-length:")]
        return self._reader.read(int(length.split(b":")[1])).decode().split(" ")

    def close(self) -> None:
        self._reader.close()
        self.socket.close()


def ask(machines: Network, user: str) -> list[str]:
    client = Client(machines)
    client.send(user)
    try:
        return client.answer()
    finally:
        client.close()


def test_two_hosts_agree_and_the_loss_of_one_is_its_open_connections(tmp_path: Path) -> None:
    haproxy = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert haproxy is not None, "apt-get install haproxy"
    synproxy = [sys.executable, "-m", "synproxy.cli.main", "run", "--config", str(FILE)]
    machines_of = {"lb": "192.0.2.10", "a": "192.0.2.11", "b": "192.0.2.12"}
    with ExitStack() as stack:
        machines = stack.enter_context(network(CLIENT, **machines_of, workers="192.0.2.20"))
        for host in WORKERS:
            address = ("addr", "add", f"{host}/24", "dev", "eth0")
            subprocess.run(machines.command("workers", "ip", *address), check=True, timeout=30)
        workers = Workers(machines)
        stack.callback(workers.close)
        hosts = {
            name: stack.enter_context(running(machines, name, tmp_path / name, *synproxy))
            for name in ("a", "b")
        }
        deadline = time.monotonic() + 60
        while not all("ready" in (tmp_path / name).read_text() for name in hosts):
            assert time.monotonic() < deadline, [(tmp_path / name).read_text() for name in hosts]
            time.sleep(0.05)
        balancer = [haproxy, "-db", "-f", str(BALANCER)]
        stack.enter_context(running(machines, "lb", tmp_path / "lb", *balancer))
        while True:
            try:
                ask(machines, "somebody")
                break
            except OSError:
                assert time.monotonic() < deadline, (tmp_path / "lb").read_text()
                time.sleep(0.05)

        # The same key goes to the same server from both, which see the client's own address.
        homes: dict[str, set[str]] = {}
        ways: set[str] = set()
        for user in USERS:
            for _ in range(4):
                worker, host, client = ask(machines, user)
                homes.setdefault(user, set()).add(worker)
                ways.add(host)
                assert client == CLIENT
        assert ways == {"192.0.2.11", "192.0.2.12"}
        assert {len(found) for found in homes.values()} == {1}
        assert {worker for found in homes.values() for worker in found} == set(WORKERS)

        # Held syncs on both hosts; then one host is gone.
        held = [Client(machines) for _ in range(8)]
        for number, one in enumerate(held):
            stack.callback(one.close)
            one.send(USERS[number], "?hold")
        for _ in held:
            assert workers.held.acquire(timeout=30)
        machines.crash("a")
        for user in USERS:  # nobody who comes now is turned away, and all stay at home
            worker, host, _ = ask(machines, user)
            assert host == "192.0.2.12"
            assert {worker} == homes[user]
        workers.release.set()
        answers = [one.answer() for one in held]
        assert answers.count([]) == 4
        assert {tuple(answer)[1] for answer in answers if answer} == {"192.0.2.12"}
    assert "ERROR" not in (tmp_path / "b").read_text()


@pytest.fixture(autouse=True)
def _root() -> None:
    assert os.geteuid() == 0, "network namespaces are for root"
