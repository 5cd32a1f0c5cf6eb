"""Who listens on an address, by the kernel's tables (proc(5): /proc/net/tcp, /proc/net/unix).

Must not connect or bind. Other users' processes have a name only for root.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from synproxy.config.addresses import TcpAddress, UnixAddress

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LISTEN = "0A"  # TCP_LISTEN, include/net/tcp_states.h
_ACCEPTS = 0x10000  # __SO_ACCEPTCON


@dataclass(frozen=True, slots=True)
class Process:
    """Whose socket it is."""

    pid: int
    name: str
    command: tuple[str, ...]

    @property
    def is_synproxy(self) -> bool:
        """Started by the console script, or as ``python -m synproxy``."""
        words = [os.path.basename(word) for word in self.command[:3]]
        return "synproxy" in words or any(w.startswith("synproxy.") for w in self.command[:3])

    @property
    def is_systemd(self) -> bool:
        return self.name == "systemd"

    def __str__(self) -> str:
        return f"{'synproxy' if self.is_synproxy else self.name} (pid {self.pid})"


class Holders:
    """The listening sockets of this machine, as they were when this was made."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._tcp = [*_tcp(proc / "net/tcp"), *_tcp(proc / "net/tcp6")]
        self._unix = dict(_unix(proc / "net/unix"))
        self._processes = dict(self._scan())

    def holders(self, address: TcpAddress | UnixAddress) -> list[Process]:
        """Who listens there; systemd last, which keeps sockets for services that run."""
        found = {
            process.pid: process
            for inode in self._inodes(address)
            for process in self._processes.get(inode, ())
        }
        return sorted(found.values(), key=lambda process: (process.is_systemd, process.pid))

    def _inodes(self, address: TcpAddress | UnixAddress) -> list[str]:
        if isinstance(address, UnixAddress):
            inode = self._unix.get(address.path)
            return [] if inode is None else [inode]
        wanted = ipaddress.ip_address(address.host)
        on_port = [(host, inode) for host, port, inode in self._tcp if port == address.port]
        found = [inode for host, inode in on_port if _meet(host, wanted)]
        if not found and wanted.version == 4:  # [::] may take IPv4 too (ipv6(7), IPV6_V6ONLY)
            found = [inode for host, inode in on_port if host.version == 6 and host.is_unspecified]
        return found

    def _scan(self) -> Iterator[tuple[str, list[Process]]]:
        found: dict[str, list[Process]] = {}
        for directory in self._proc.iterdir():
            if not directory.name.isdigit():
                continue
            try:
                inodes = set(_socket_inodes(directory / "fd"))
                process = _process(directory)
            except OSError:  # gone, or another user's
                continue
            for inode in inodes:
                found.setdefault(inode, []).append(process)
        yield from found.items()


def _socket_inodes(directory: Path) -> Iterator[str]:
    for entry in directory.iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile, as the one that lists them is
            link = os.readlink(entry)
            if link.startswith("socket:["):
                yield link[len("socket:[") : -1]


def _process(directory: Path) -> Process:
    command = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
    name = (directory / "comm").read_text(errors="replace").strip()
    return Process(int(directory.name), name, tuple(command))


def _tcp(table: Path) -> Iterator[tuple[_Address, int, str]]:
    for line in _rows(table):
        columns = line.split()
        if columns[3] == _LISTEN:
            host, _, port = columns[1].partition(":")
            yield _address(host), int(port, 16), columns[9]


def _address(text: str) -> _Address:
    """The kernel prints each 32-bit word in the machine's byte order."""
    words = (int(text[at : at + 8], 16) for at in range(0, len(text), 8))
    return ipaddress.ip_address(b"".join(word.to_bytes(4, sys.byteorder) for word in words))


def _meet(bound: _Address, wanted: _Address) -> bool:
    """Whether two listeners of one port are in each other's way."""
    if bound.version != wanted.version:
        return False
    return bound == wanted or bound.is_unspecified or wanted.is_unspecified


def _unix(table: Path) -> Iterator[tuple[str, str]]:
    for line in _rows(table):
        columns = line.split(maxsplit=7)
        if len(columns) == 8 and int(columns[3], 16) & _ACCEPTS:
            yield columns[7], columns[6]


def _rows(table: Path) -> list[str]:
    try:
        return table.read_text(errors="replace").splitlines()[1:]
    except OSError:
        return []
