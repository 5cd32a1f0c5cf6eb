"""Listening sockets: made here, inherited from systemd, or from the supervisor before us.

The supervisor keeps them open, whatever becomes of its children.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from synproxy.config.addresses import TcpAddress, UnixAddress, parse_listen
from synproxy.runtime import systemd

if TYPE_CHECKING:
    from collections.abc import Iterable

    from synproxy.config.model import Listener


class InheritedSockets:
    """Sockets of a systemd ``.socket`` unit; each serves the listener that has its address."""

    def __init__(self, sockets: Iterable[socket.socket]) -> None:
        self._sockets = list(sockets)
        self._lent: list[socket.socket] = []

    def take(self, address: TcpAddress | UnixAddress) -> socket.socket | None:
        """The socket bound to an address, if systemd passed one."""
        for sock in self._sockets:
            if _bound_to(sock, address):
                self._sockets.remove(sock)
                return sock
        return None

    def lend(self, address: TcpAddress | UnixAddress) -> socket.socket | None:
        """A duplicate of the socket bound to an address, if systemd passed one, for somebody who
        may close it and ask again. The socket itself stays here, for the next program too."""
        if (taken := self.take(address)) is not None:
            self._lent.append(taken)
        return next((sock.dup() for sock in self._lent if _bound_to(sock, address)), None)

    @property
    def lent(self) -> list[int]:
        """Descriptors of what was lent."""
        return [sock.fileno() for sock in self._lent]

    @property
    def count(self) -> int:
        """How many nobody has taken yet."""
        return len(self._sockets)

    def unused(self) -> list[str]:
        """Addresses of the sockets that no listener of the configuration asked for."""
        return [str(sock.getsockname()) for sock in self._sockets]


class ListeningSockets:
    """Those of the supervisor, by the address in the configuration."""

    def __init__(self, inherited: InheritedSockets, ours: Iterable[str] = ()) -> None:
        self.inherited = inherited
        self._sockets: dict[str, socket.socket] = {}
        self._ours = set(ours)
        """UNIX sockets that are removed with their listener."""
        self._made: set[str] = set()

    def open(self, listeners: Iterable[Listener]) -> list[str]:
        """Open what is not open yet; which ones that were.

        :raises OSError: one cannot be bound; then none was opened.
        """
        opened: list[str] = []
        try:
            for listener in listeners:
                name = listener.listen
                if name in self._sockets:
                    continue
                known = self.inherited.count
                self._sockets[name], ours = open_listener(listener, self.inherited)
                opened.append(name)
                if self.inherited.count == known:
                    self._made.add(name)
                if ours is not None:
                    self._ours.add(name)
        except OSError:
            self.close(opened)
            raise
        return opened

    def fds(self, names: Iterable[str] | None = None) -> dict[str, int]:
        """The descriptors of all, or some, for other processes."""
        return {name: self._sockets[name].fileno() for name in names or self._sockets}

    def store(self) -> None:
        """Let systemd keep what did not come from it, so that a restart refuses nobody."""
        for name in sorted(self._made):
            systemd.store(name, self._sockets[name].fileno())
        self._made.clear()

    @property
    def ours(self) -> list[str]:
        return sorted(self._ours)

    def close(self, names: Iterable[str], *, remove: bool = True) -> None:
        """Close some; ``remove``: also the files of UNIX sockets that we made."""
        for name in list(names):
            self._sockets.pop(name).close()
            address = parse_listen(name)
            if name in self._ours and isinstance(address, UnixAddress) and remove:
                remove_socket(address)
            self._ours.discard(name)
            self._made.discard(name)


def open_listener(
    listener: Listener, inherited: InheritedSockets
) -> tuple[socket.socket, UnixAddress | None]:
    """A bound, listening, non-blocking socket, and the path to remove when it is closed.

    A UNIX socket that nobody listens on any more is replaced; one in use is an error.

    :raises OSError: the address cannot be bound.
    """
    address = parse_listen(listener.listen)
    ours = None
    sock = inherited.take(address)
    if sock is None:
        if isinstance(address, UnixAddress):
            sock = _bind_unix(address.path, int(listener.mode, 8))
            ours = address
        else:
            sock = bind_tcp(address, listener.ipv6only)
        sock.listen(listener.backlog)
    sock.setblocking(False)
    return sock, ours


def remove_socket(address: UnixAddress) -> None:
    """Remove a UNIX socket that we made."""
    with suppress(FileNotFoundError):
        os.unlink(address.path)


def bind_tcp(address: TcpAddress, ipv6only: bool) -> socket.socket:
    """A bound socket that does not listen yet.

    :raises OSError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(ipv6only))
        sock.bind((address.host, address.port))
    except OSError:
        sock.close()
        raise
    return sock


def bind_private(path: Path) -> socket.socket:
    """A listening UNIX socket that only our user and root can connect to. It takes the place of
    what is at ``path`` at once, so that nobody who connects meanwhile is refused.

    :raises OSError: it cannot be made there.
    """
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mask = os.umask(0o177)
        try:
            sock.bind(str(fresh))
        finally:
            os.umask(mask)
        sock.listen(128)
        sock.setblocking(False)
        fresh.rename(path)
    except OSError:
        sock.close()
        fresh.unlink(missing_ok=True)
        raise
    return sock


def _bind_unix(path: str, mode: int) -> socket.socket:
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        os.chmod(path, mode)
    except OSError:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(errno.EADDRINUSE, "a file that is no socket is in the way", path)
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        else:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), path)


def _bound_to(sock: socket.socket, address: TcpAddress | UnixAddress) -> bool:
    name = sock.getsockname()
    if isinstance(address, UnixAddress):
        return sock.family == socket.AF_UNIX and name == address.path
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    return bool(name[:2] == (address.host, address.port))
