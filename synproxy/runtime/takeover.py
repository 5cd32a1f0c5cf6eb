"""Listening sockets of a running process, for the one that takes its place.

Both accept from the same queue of connections until the old process ends, so that no connection is
refused or reset in between. Linux only. Source: pidfd_getfd(2), sd_listen_fds(3), and
ngx_add_inherited_sockets() in src/core/nginx.c for the variable NGINX.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence

from synproxy.runtime.systemd import LISTEN_FDS_START

_PIDFD_GETFD = 438
"""The number of the system call, the same on every architecture; Python has no function for it."""

FORMS = ("systemd", "nginx")


def listening_sockets(pid: int) -> list[socket.socket]:
    """Copies of the TCP sockets on which a process listens.

    :raises OSError: there is no such process, or it may not be looked into (root may).
    :raises ValueError: several sockets share an address (nginx ``listen ... reuseport``): the
        connections that wait on the others would be lost.
    """
    found: dict[object, socket.socket] = {}
    try:
        for one in _sockets(pid):
            if not _listens_on_tcp(one):
                one.close()
                continue
            address = one.getsockname()[:2]
            if address in found:
                one.close()
                raise ValueError(
                    f"several sockets listen on {address[0]}:{address[1]} (reuseport): "
                    "remove reuseport and reload first"
                )
            found[address] = one
    except BaseException:
        for one in found.values():
            one.close()
        raise
    return list(found.values())


def _sockets(pid: int) -> Iterator[socket.socket]:
    """A copy of each socket of a process; the caller closes it."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    try:
        for name in sorted(os.listdir(f"/proc/{pid}/fd"), key=int):
            fd = libc.syscall(_PIDFD_GETFD, pidfd, int(name), 0)
            if fd < 0:
                code = ctypes.get_errno()
                if code == errno.EBADF:  # a connection that has ended meanwhile
                    continue
                raise OSError(code, os.strerror(code))
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                yield socket.socket(fileno=fd)
            else:
                os.close(fd)
    finally:
        os.close(pidfd)


def _listens_on_tcp(one: socket.socket) -> bool:
    if one.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def hand_over(
    sockets: Sequence[socket.socket], form: str, environment: Mapping[str, str]
) -> dict[str, str]:
    """Put ``sockets`` where the program that replaces this process looks for them, and say so in
    its environment: as systemd does, or as nginx does when it replaces its own binary."""
    first = LISTEN_FDS_START
    last = first + len(sockets)
    # Away from the numbers they are about to take.
    high = [fcntl.fcntl(one.fileno(), fcntl.F_DUPFD_CLOEXEC, last) for one in sockets]
    for number, fd in enumerate(high, start=first):
        os.dup2(fd, number, inheritable=True)
    told = dict(environment)
    if form == "nginx":
        told["NGINX"] = "".join(f"{number};" for number in range(first, last))
    else:
        told |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(sockets))}
        told.pop("LISTEN_FDNAMES", None)
    return told
