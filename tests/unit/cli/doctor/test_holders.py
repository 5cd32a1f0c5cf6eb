"""The kernel's tables, read from copies of them and from this process."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from synproxy.cli.doctor.holders import Holders, Process
from synproxy.config.addresses import TcpAddress, UnixAddress, parse_listen

HEADER = "  sl  local_address rem_address   st\n"
# Little-endian as x86 and ARM print them; tests run there.
TCP = HEADER + (
    "   0: 0100007F:1F48 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 101 1\n"
    "   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 102 1\n"
    "   2: 0100007F:1F49 00000000:0000 01 00000000:00000000 00:00000000 00000000  0  0 103 1\n"
)
TCP6 = HEADER + (
    "   0: 00000000000000000000000001000000:1F48 00000000000000000000000000000000:0000 0A"
    " 00000000:00000000 00:00000000 00000000  0  0 104 1\n"
    "   1: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A"
    " 00000000:00000000 00:00000000 00000000  0  0 105 1\n"
)
UNIX = (
    "Num       RefCount Protocol Flags    Type St Inode Path\n"
    "0: 00000002 00000000 00010000 0001 01 201 /run/a.sock\n"
    "0: 00000002 00000000 00000000 0001 03 202 /run/connected.sock\n"
    "0: 00000002 00000000 00010000 0001 01 203\n"
)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc with three processes."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text(TCP)
    (tmp_path / "net/tcp6").write_text(TCP6)
    (tmp_path / "net/unix").write_text(UNIX)
    for pid, name, command, inodes in (
        (1, "systemd", "/sbin/init", [101, 201]),
        (20, "nginx", "nginx: master process", [102, 104]),
        (30, "python3", "/usr/bin/python3\0-m\0synproxy\0run", [101, 201, 105]),
    ):
        (tmp_path / f"{pid}/fd").mkdir(parents=True)
        (tmp_path / f"{pid}/comm").write_text(f"{name}\n")
        (tmp_path / f"{pid}/cmdline").write_text(command + "\0")
        for number, inode in enumerate(inodes):
            (tmp_path / f"{pid}/fd/{number}").symlink_to(f"socket:[{inode}]")
    return tmp_path


@pytest.mark.parametrize(
    ("address", "holders"),
    [
        ("127.0.0.1:8008", ["synproxy (pid 30)", "systemd (pid 1)"]),
        ("0.0.0.0:8008", ["synproxy (pid 30)", "systemd (pid 1)"]),
        ("127.0.0.2:8008", []),
        ("192.0.2.1:80", ["nginx (pid 20)"]),
        ("[::1]:8008", ["nginx (pid 20)"]),
        ("[::]:8008", ["nginx (pid 20)"]),
        ("127.0.0.1:443", ["synproxy (pid 30)"]),  # [::] may have taken IPv4 too
        ("127.0.0.1:8009", []),  # connected, not listening
        ("unix:/run/a.sock", ["synproxy (pid 30)", "systemd (pid 1)"]),
        ("unix:/run/connected.sock", []),
        ("unix:/run/b.sock", []),
    ],
)
def test_who_listens_on_an_address(proc: Path, address: str, holders: list[str]) -> None:
    assert [str(holder) for holder in Holders(proc).holders(parse_listen(address))] == holders


def test_a_machine_without_the_tables_has_no_holders(tmp_path: Path) -> None:
    assert Holders(tmp_path).holders(TcpAddress("127.0.0.1", 80)) == []


def test_this_process_finds_its_own_sockets(sockets: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(sockets / "a"))
        unix.listen()
        holders = Holders()
        for address in (
            TcpAddress("127.0.0.1", tcp.getsockname()[1]),
            UnixAddress(str(sockets / "a")),
        ):
            assert [holder.pid for holder in holders.holders(address)] == [os.getpid()]


@pytest.mark.parametrize(
    ("command", "is_synproxy"),
    [
        (("/usr/bin/python3", "-m", "synproxy", "run"), True),
        (("/usr/bin/python3", "/usr/bin/synproxy", "run"), True),
        (("/opt/venv/bin/python", "-m", "synproxy.cli.main", "run"), True),
        (("/usr/bin/vim", "/etc/synproxy/synproxy.yaml"), False),
        (("nginx: worker process",), False),
    ],
)
def test_synproxy_is_known_by_its_command_line(command: tuple[str, ...], is_synproxy: bool) -> None:
    assert Process(1, "python3", command).is_synproxy is is_synproxy
