"""A process's listening sockets are found, and only these."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from synproxy.cli.main import main
from synproxy.runtime.takeover import listening_sockets

LISTENS = """\
import socket, sys
one = socket.create_server(("127.0.0.1", 0), reuse_port=True)
port = one.getsockname()[1]
others = [socket.create_connection(one.getsockname()), socket.socket(socket.AF_UNIX)]
others += [socket.create_server(("127.0.0.1", port), reuse_port=True)] * int(sys.argv[1])
print(port, flush=True)
sys.stdin.read()
"""


@contextmanager
def listening(more: int) -> Iterator[tuple[int, int]]:
    """The pid and the port of a process that listens on as many more sockets on that port."""
    command = [sys.executable, "-c", LISTENS, str(more)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())


def test_sockets_that_listen_on_tcp_are_copied() -> None:
    with listening(0) as (pid, port):
        copies = listening_sockets(pid)
        addresses = [copy.getsockname() for copy in copies]
        for copy in copies:
            copy.close()
    assert addresses == [("127.0.0.1", port)]


def test_two_sockets_on_one_address_are_refused() -> None:
    with listening(1) as (pid, port), pytest.raises(ValueError, match=rf":{port} \(reuseport\)"):
        listening_sockets(pid)


def test_a_pid_file_that_holds_no_number_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nginx.pid"
    path.write_text("nginx")
    assert main(["take-over", "--from", str(path), "--", "true"]) == 1
    assert capsys.readouterr().err.startswith(str(path))
