"""The systemd protocol against real sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from synproxy.runtime import systemd


@pytest.fixture(params=["file", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """A service manager's end of NOTIFY_SOCKET."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(5)
        receiver.bind(path if request.param == "file" else "\0" + path)
        monkeypatch.setenv("NOTIFY_SOCKET", path if request.param == "file" else "@" + path)
        yield receiver


@pytest.mark.parametrize(
    ("call", "sent"),
    [
        (lambda: systemd.notify("READY=1\nMAINPID=7"), b"READY=1\nMAINPID=7"),
        (systemd.ready, b"READY=1"),
        (lambda: systemd.ready("serving"), b"READY=1\nSTATUS=serving"),
        (systemd.stopping, b"STOPPING=1"),
        (lambda: systemd.stopping("draining 3"), b"STOPPING=1\nSTATUS=draining 3"),
        (lambda: systemd.status("a\nREADY=1"), b"STATUS=a READY=1"),
        (systemd.watchdog, b"WATCHDOG=1"),
    ],
)
def test_the_manager_receives_what_is_sent(
    call: Callable[[], bool], sent: bytes, manager: socket.socket
) -> None:
    assert call() is True
    assert manager.recv(4096) == sent


def test_a_reload_is_announced_with_the_monotonic_time(manager: socket.socket) -> None:
    before = time.monotonic_ns() // 1000
    assert systemd.reloading() is True
    first, second = manager.recv(4096).split(b"\n")
    assert first == b"RELOADING=1"
    name, _, value = second.partition(b"=")
    assert name == b"MONOTONIC_USEC"
    assert before <= int(value) <= time.monotonic_ns() // 1000


@pytest.mark.parametrize("address", [None, "", "relative/path", "vsock:2:1234"])
def test_without_a_notify_socket_nothing_happens(
    address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert systemd.ready() is False


def test_a_manager_that_went_away_is_only_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert systemd.ready() is False
    assert "cannot notify" in caplog.text


def test_a_manager_that_does_not_read_is_not_waited_for(manager: socket.socket) -> None:
    while systemd.notify("STATUS=" + "x" * 60_000):
        pass
    assert manager.recv(1 << 16).startswith(b"STATUS=xxx")


@pytest.mark.parametrize(
    ("usec", "pid", "interval"),
    [
        ("30000000", None, 15.0),
        ("30000000", "own", 15.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("-5", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_is_fed_at_half_its_time(
    usec: str | None, pid: str | None, interval: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, str(os.getpid()) if value == "own" else value)
    assert systemd.watchdog_interval() == interval


def inherit(monkeypatch: pytest.MonkeyPatch, count: str, pid: str = "", names: str = "") -> None:
    monkeypatch.setenv("LISTEN_PID", pid or str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", count)
    monkeypatch.setenv("LISTEN_FDNAMES", names)


def test_an_inherited_socket_listens_and_the_environment_is_cleared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = socket.create_server(("127.0.0.1", 0))
    address = original.getsockname()
    fd = original.detach()
    os.set_inheritable(fd, True)
    inherit(monkeypatch, "1", names="http")
    [(name, inherited)] = systemd.named_listen_sockets(first_fd=fd)
    with inherited:
        assert name == "http"
        assert inherited.getsockname() == address
        assert inherited.family == socket.AF_INET
        assert inherited.getblocking() is False
        assert os.get_inheritable(fd) is False
    assert not {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} & set(os.environ)
    assert systemd.named_listen_sockets(first_fd=fd) == []


@pytest.mark.parametrize(("count", "pid"), [("1", "1"), ("many", ""), ("", ""), ("-1", "")])
def test_sockets_for_another_process_are_not_touched(
    count: str, pid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        inherit(monkeypatch, count, pid)
        assert systemd.named_listen_sockets(first_fd=other.fileno()) == []
        assert other.getsockname()[1] > 0


def test_what_does_not_listen_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    inherit(monkeypatch, "1")
    assert systemd.named_listen_sockets(first_fd=datagram.detach()) == []
    assert "does not listen" in caplog.text


def test_what_is_no_socket_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inherit(monkeypatch, "1")
    with open(os.devnull) as file:
        assert systemd.named_listen_sockets(first_fd=file.fileno()) == []
    assert "Socket operation on non-socket" in caplog.text


def test_a_process_started_as_systemd_does_finds_its_sockets_at_fd_3() -> None:
    program = (
        "import os, socket, sys; from synproxy.runtime.systemd import listen_sockets\n"
        "os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_PID=str(os.getpid()))\n"
        "[s] = listen_sockets(); s.setblocking(True); s.accept()[0].sendall(b'hello')"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(server.fileno())],
            pass_fds=[server.fileno()],
            env={**os.environ, "LISTEN_FDS": "1"},
        )
        with socket.create_connection(server.getsockname(), timeout=30) as client:
            assert client.recv(100) == b"hello"
        assert child.wait(30) == 0
