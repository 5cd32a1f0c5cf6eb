"""``synproxy run`` as systemd starts it: notifications, the watchdog, and its sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.process.endurance import ask
from tests.support.process import free_port

CONFIG = """\
listeners: ["127.0.0.1:{port}"]
access_log: "off"
children: 2
routes: [{{name: all, location: /, respond: {{status: 404}}}}]
"""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(20)
        receiver.bind(str(tmp_path / "notify"))
        yield receiver


@contextmanager
def service(
    directory: Path,
    port: int,
    *wrapper: str,
    config: str = "",
    pass_fds: Sequence[int] = (),
    **environment: str,
) -> Iterator[subprocess.Popen[bytes]]:
    file = directory / "synproxy.yaml"
    text = CONFIG.format(port=port)
    file.write_text(config + text.partition("\n")[2] if config else text)
    command = [*wrapper, sys.executable, "-m", "synproxy", "run", "--config", str(file)]
    child = subprocess.Popen(
        command,
        env={**os.environ, "NOTIFY_SOCKET": str(directory / "notify"), **environment},
        pass_fds=pass_fds,
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait(20)


def receive(manager: socket.socket, wanted: str) -> list[str]:
    """The lines of the next message that has `wanted`; others are passed over."""
    while True:
        lines = manager.recv(65536).decode().splitlines()
        if wanted in lines:
            return lines


def receive_first(manager: socket.socket, prefix: str) -> str:
    """The first line of the next message that begins with `prefix`."""
    while True:
        line = manager.recv(65536).decode().partition("\n")[0]
        if line.startswith(prefix):
            return line


def status_line(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return client.makefile("rb").readline()


def test_the_manager_hears_of_start_reload_and_end(tmp_path: Path, manager: socket.socket) -> None:
    port = free_port()
    with service(tmp_path, port) as child:
        receive(manager, "READY=1")
        assert status_line(port) == b"HTTP/1.1 404 Not Found\r\n"
        child.send_signal(signal.SIGHUP)
        assert receive(manager, "RELOADING=1")[1].startswith("MONOTONIC_USEC=")
        receive(manager, "READY=1")
        child.send_signal(signal.SIGTERM)
        receive(manager, "STOPPING=1")
        assert child.wait(20) == 0


def test_a_reload_that_fails_is_told_and_changes_nothing(
    tmp_path: Path, manager: socket.socket
) -> None:
    port = free_port()
    with service(tmp_path, port) as child:
        receive(manager, "READY=1")
        (tmp_path / "synproxy.yaml").write_text("nonsense: true")
        child.send_signal(signal.SIGHUP)
        receive(manager, "RELOADING=1")
        status = receive(manager, "READY=1")[1]
        assert status.startswith(f"STATUS=listening on 127.0.0.1:{port}; 1 routes, 0 pools, ")
        assert f"generation 1; reload failed: {tmp_path}/synproxy.yaml:1:1: " in status
        assert status_line(port) == b"HTTP/1.1 404 Not Found\r\n"


def test_the_status_tells_of_a_child_that_crashes_and_of_its_successor(
    tmp_path: Path, manager: socket.socket
) -> None:
    with service(tmp_path, free_port(), RUNTIME_DIRECTORY=str(tmp_path)):
        both = receive(manager, "READY=1")[1]
        assert "; 1 routes, 0 pools, 2 children, generation 1" in both
        child = asyncio.run(ask(tmp_path / "control.sock", "status"))["children"][0]
        os.kill(child, signal.SIGKILL)
        receive(manager, both.replace("2 children", "1 child"))
        receive(manager, both)


def test_the_watchdog_is_fed(tmp_path: Path, manager: socket.socket) -> None:
    with service(tmp_path, free_port(), WATCHDOG_USEC="600000"):
        receive(manager, "READY=1")
        for _ in range(3):
            receive(manager, "WATCHDOG=1")


def answer_over(path: Path, target: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(path))
        client.sendall(f"GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        return client.makefile("rb").readline()


def test_sockets_of_systemd_serve_the_listeners_with_their_addresses(
    tmp_path: Path, manager: socket.socket
) -> None:
    """Over TCP, over a path, and the admin's; also after an upgrade, which inherits them."""
    port = free_port()
    paths = [tmp_path / "http.sock", tmp_path / "admin.sock"]
    addresses = [f"127.0.0.1:{port}", *map(str, paths)]
    wrapper = [
        "systemd-socket-activate",
        *(f"--listen={address}" for address in addresses),
        *(f"--setenv={name}" for name in ("NOTIFY_SOCKET", "RUNTIME_DIRECTORY")),
    ]
    more = f"listeners: [unix:{paths[0]}, 127.0.0.1:{port}]\nadmin: unix:{paths[1]}\n"
    with service(tmp_path, port, *wrapper, config=more, RUNTIME_DIRECTORY=str(tmp_path)) as child:

        def all_serve() -> None:
            assert status_line(port) == b"HTTP/1.1 404 Not Found\r\n"
            assert answer_over(paths[0], "/") == b"HTTP/1.1 404 Not Found\r\n"
            assert answer_over(paths[1], "/metrics") == b"HTTP/1.0 200 OK\r\n"

        started = False
        while not started:  # by the first who connects, once it listens
            with suppress(ConnectionRefusedError):
                started = bool(status_line(port))
            assert child.poll() is None
        receive(manager, "READY=1")
        inodes = [path.stat().st_ino for path in paths]
        all_serve()
        upgrade = [sys.executable, "-m", "synproxy", "upgrade"]
        result = subprocess.run([*upgrade, "--socket", tmp_path / "control.sock"], timeout=60)
        assert result.returncode == 0
        new = int(receive_first(manager, "MAINPID=").removeprefix("MAINPID="))
        assert child.wait(20) == 0
        all_serve()
        assert [path.stat().st_ino for path in paths] == inodes
        os.kill(new, signal.SIGTERM)
        receive(manager, "STOPPING=1")


def test_a_restart_refuses_nobody_for_the_manager_keeps_the_sockets(
    tmp_path: Path, manager: socket.socket
) -> None:
    port = free_port()
    with service(tmp_path, port) as child:
        data, fds, _, _ = socket.recv_fds(manager, 65536, 4)
        assert data.decode().splitlines() == ["FDSTORE=1", f"FDNAME=127.0.0.1_{port}"]
        receive(manager, "READY=1")
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        inherit = ["bash", "-c", f'export LISTEN_PID=$$; exec 3<&{fds[0]}; exec "$@"', "bash"]
        with service(tmp_path, port, *inherit, pass_fds=fds, LISTEN_FDS="1") as child:
            assert client.makefile("rb").readline() == b"HTTP/1.1 404 Not Found\r\n"
            child.send_signal(signal.SIGTERM)
            assert child.wait(20) == 0
    os.close(fds[0])


def test_the_manager_follows_an_upgrade(tmp_path: Path, manager: socket.socket) -> None:
    port = free_port()
    with service(tmp_path, port, RUNTIME_DIRECTORY=str(tmp_path)) as child:
        receive(manager, "READY=1")
        upgrade = [sys.executable, "-m", "synproxy", "upgrade"]
        result = subprocess.run([*upgrade, "--socket", tmp_path / "control.sock"], timeout=60)
        assert result.returncode == 0
        new = int(receive_first(manager, "MAINPID=").removeprefix("MAINPID="))
        receive(manager, "READY=1")
        assert child.wait(20) == 0
        assert status_line(port) == b"HTTP/1.1 404 Not Found\r\n"
        os.kill(new, signal.SIGTERM)
        receive(manager, "STOPPING=1")
