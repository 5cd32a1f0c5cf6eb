"""What systemd and a service tell each other: notifications, the watchdog, inherited sockets.

Must not know what synproxy does: every function reads the environment, none keeps state. Without
systemd they all do nothing. Protocol: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Sequence

LISTEN_FDS_START = 3  # SD_LISTEN_FDS_START

_logger = logging.getLogger(__name__)


def notify(state: str, fds: Sequence[int] = ()) -> bool:
    """Send lines such as ``READY=1`` or ``STATUS=...`` to the service manager, with descriptors.

    True if it was sent; False without NOTIFY_SOCKET, or if nobody takes it. Never raises, and
    never waits: a service must not stop because its manager is busy.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # abstract socket namespace
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            sender.connect(address)
            data = state.encode("utf-8", "backslashreplace")
            if fds:
                socket.send_fds(sender, [data], fds)
            else:
                sender.sendall(data)
    except OSError as error:
        _logger.warning("cannot notify the service manager: %s", error)
        return False
    return True


def ready(status: str = "") -> bool:
    """Started, or done with a reload."""
    return notify(f"READY=1\nSTATUS={_one_line(status)}" if status else "READY=1")


def reloading() -> bool:
    """A reload begins; `ready` must follow. The time is what ``Type=notify-reload`` asks for."""
    return notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping(status: str = "") -> bool:
    """A shutdown begins."""
    return notify(f"STOPPING=1\nSTATUS={_one_line(status)}" if status else "STOPPING=1")


def status(text: str) -> bool:
    """The line that ``systemctl status`` shows."""
    return notify(f"STATUS={_one_line(text)}")


def manages() -> bool:
    """Whether a service manager started us."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def store(name: str, fd: int) -> bool:
    """Let the manager keep a socket open (``FileDescriptorStoreMax=``): the next process of this
    service inherits it as it does those of a ``.socket`` unit."""
    return notify(f"FDSTORE=1\nFDNAME={_fd_name(name)}", [fd])


def unstore(name: str) -> bool:
    """It need not be kept any longer."""
    return notify(f"FDSTOREREMOVE=1\nFDNAME={_fd_name(name)}")


def watchdog() -> bool:
    """Still alive; due every `watchdog_interval` seconds."""
    return notify("WATCHDOG=1")


def watchdog_interval() -> float | None:
    """Seconds between two `watchdog` calls: half of WatchdogSec, as sd_watchdog_enabled(3)
    recommends; None if nobody watches this process."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", "")
    if not usec.isascii() or not usec.isdigit() or int(usec) == 0:
        return None
    if pid and pid != str(os.getpid()):
        return None
    return int(usec) / 2_000_000


def named_listen_sockets(first_fd: int = LISTEN_FDS_START) -> list[tuple[str, socket.socket]]:
    """The listening sockets systemd opened for this process, each with its FileDescriptorName.

    The environment is cleared, so that no process we start believes they were meant for it, and
    a second call returns nothing. The sockets are non-blocking and close on exec. What is not a
    listening stream socket is closed, with a line in the log.
    """
    pid = os.environ.pop("LISTEN_PID", "")
    count = os.environ.pop("LISTEN_FDS", "")
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isascii() or not count.isdigit():
        return []
    sockets = []
    for index in range(int(count)):
        name = names[index] if index < len(names) else ""
        if (inherited := _adopt(first_fd + index, name)) is not None:
            sockets.append((name, inherited))
    return sockets


def listen_sockets() -> list[socket.socket]:
    """`named_listen_sockets` without the names."""
    return [inherited for _, inherited in named_listen_sockets()]


def _adopt(fd: int, name: str) -> socket.socket | None:
    try:
        os.set_inheritable(fd, False)
        inherited = socket.socket(fileno=fd)
    except OSError as error:
        _logger.error("file descriptor %d (%s) from systemd: %s", fd, name, error.strerror)
        return None
    if (
        inherited.type != socket.SOCK_STREAM
        or inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) != 1
    ):
        _logger.error("file descriptor %d (%s) from systemd does not listen", fd, name)
        inherited.close()
        return None
    inherited.setblocking(False)
    return inherited


def _fd_name(name: str) -> str:
    """sd_pid_notify_with_fds(3): at most 255 characters, no colon, nothing unprintable."""
    return "".join(c if c.isprintable() and c.isascii() and c != ":" else "_" for c in name)[-255:]


def _one_line(text: str) -> str:
    return " ".join(text.split())
