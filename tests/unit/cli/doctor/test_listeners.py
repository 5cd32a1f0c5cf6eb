"""Can our own addresses be bound, or who has them?"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from synproxy.cli.doctor.holders import Holders, Process
from synproxy.cli.doctor.identity import Identity
from synproxy.cli.doctor.listeners import check_listeners, serving_process
from synproxy.config.addresses import TcpAddress, UnixAddress
from tests.support.process import free_port
from tests.unit.cli.doctor.compiled import config

SYNPROXY = Process(7, "python3", ("python3", "-m", "synproxy", "run"))
ME = Identity.current()


class KnownHolders(Holders):
    """Says that these processes have every address."""

    def __init__(self, *processes: Process) -> None:
        self._known = list(processes)

    def holders(self, address: TcpAddress | UnixAddress) -> list[Process]:
        return self._known


def check(listen: object, *processes: Process) -> tuple[str, str, str]:
    (found,) = check_listeners(config(listeners=[listen]), KnownHolders(*processes), ME)
    assert found.check == "listener"
    return found.status, found.reason, found.remedy


def test_a_free_port_can_be_bound_and_is_not_kept() -> None:
    address = f"127.0.0.1:{free_port()}"
    assert check(address) == check(address) == ("ok", "free, and can be bound", "")


@pytest.mark.parametrize(
    ("holders", "status", "reason", "remedy"),
    [
        ([SYNPROXY], "ok", "served by synproxy (pid 7)", ""),
        ([Process(1, "systemd", ())], "ok", "held by systemd (pid 1)", ""),
        ([Process(9, "nginx", ())], "warn", "in use by nginx (pid 9)", "disable --now nginx"),
        ([Process(9, "postgres", ())], "fail", "in use by postgres (pid 9)", "end that program"),
        ([], "warn", "by a process of another user", "run this as root"),
    ],
)
def test_a_taken_port_is_judged_by_who_has_it(
    holders: list[Process], status: str, reason: str, remedy: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = check(f"127.0.0.1:{server.getsockname()[1]}", *holders)
    assert found[0] == status
    assert reason in found[1]
    assert remedy in found[2]


def test_an_address_of_another_machine_cannot_be_bound() -> None:
    status, reason, remedy = check("192.0.2.1:8008")
    assert (status, reason) == ("fail", "this machine has no such address")
    assert remedy


def as_nobody(listen: str) -> list[str]:
    """The check by a child that has become nobody."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        (found,) = check_listeners(config(listeners=[listen]), KnownHolders(), Identity.current())
        os.write(writer, f"{found.status}|{found.reason}|{found.remedy}".encode())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    answer = os.read(reader, 4000).decode()
    os.close(reader)
    os.close(writer)
    return answer.split("|")


def test_a_low_port_is_for_root() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first == 0:  # a container where every port is free to everybody
        assert as_nobody("127.0.0.1:1")[0] == "ok"
        return
    status, reason, remedy = as_nobody(f"127.0.0.1:{min(first - 1, 999)}")
    assert (status, reason) == ("fail", f"ports below {first} are for root")
    assert "synproxy.socket" in remedy


def test_a_unix_socket_needs_a_directory(sockets: Path) -> None:
    assert check(f"unix:{sockets}/a.sock") == ("ok", "free, and can be bound", "")
    status, reason, remedy = check(f"unix:{sockets}/none/a.sock")
    assert (status, reason) == ("fail", f"there is no directory {sockets}/none")
    assert "RuntimeDirectory=" in remedy


def test_a_unix_socket_needs_a_directory_that_is_ours(sockets: Path) -> None:
    sockets.chmod(0o755)
    status, reason, remedy = as_nobody(f"unix:{sockets}/a.sock")
    assert status == "fail"
    assert reason == f"nobody may not make files in {sockets} (mode 0755, owner root:root)"
    assert remedy.startswith(f"chown nobody {sockets}")


def test_a_file_in_the_way_is_no_socket(sockets: Path) -> None:
    (sockets / "a.sock").write_text("")
    status, reason, remedy = check(f"unix:{sockets}/a.sock")
    assert status == "fail"
    assert "no socket is in the way" in reason
    assert remedy.endswith(f"mv {sockets}/a.sock {sockets}/a.sock.old")


def test_a_socket_that_nobody_listens_on_is_replaced(sockets: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{sockets}/a.sock")
    assert check(f"unix:{sockets}/a.sock")[0] == "ok"


@pytest.mark.parametrize(
    ("mode", "wanted", "status", "remedy"),
    [
        (0o660, "0660", "ok", ""),
        (0o600, "0660", "warn", "SocketMode=0660 in synproxy.socket, or chmod 0660 "),
        (0o666, "0660", "warn", "SocketMode=0660 in synproxy.socket, or chmod 0660 "),
    ],
)
def test_a_served_socket_has_the_mode_of_the_configuration(
    sockets: Path, mode: int, wanted: str, status: str, remedy: str
) -> None:
    path = sockets / "a.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        path.chmod(mode)
        found = check({"listen": f"unix:{path}", "mode": wanted}, SYNPROXY)
    assert found[0] == status
    assert found[2].startswith(remedy)


def test_a_served_socket_that_this_user_cannot_reach(sockets: Path) -> None:
    path = sockets / "a.sock"
    sockets.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        path.chmod(0o600)
        status, reason, remedy = as_nobody(f"unix:{path}")
    assert status == "warn"
    assert reason.startswith("nobody cannot connect: Permission denied (mode 0600")
    assert "SocketMode=" in remedy


@pytest.mark.parametrize(
    ("holders", "found"), [([SYNPROXY], SYNPROXY), ([Process(9, "nginx", ())], None), ([], None)]
)
def test_the_serving_process_is_a_synproxy(holders: list[Process], found: Process | None) -> None:
    assert serving_process(config(), KnownHolders(*holders)) == found
