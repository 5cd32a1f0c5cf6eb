"""Whom the children run as, and what the system allows the process."""

from __future__ import annotations

import grp
import logging
import os
import pwd
import resource
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

_log = logging.getLogger("synproxy")


@dataclass(frozen=True, slots=True)
class Identity:
    """A user with its groups."""

    uid: int
    gid: int
    groups: tuple[int, ...]

    @classmethod
    def of(cls, entry: pwd.struct_passwd, gid: int | None = None) -> Self:
        """A user of the system with all its groups; ``gid``: another primary one."""
        gid = entry.pw_gid if gid is None else gid
        return cls(entry.pw_uid, gid, tuple(os.getgrouplist(entry.pw_name, gid)))

    def assume(self) -> None:
        """Become this user, for good.

        :raises OSError: we may not.
        """
        os.setgroups(self.groups)
        os.setgid(self.gid)
        os.setuid(self.uid)


def identity(user: str | None, group: str | None) -> Identity | None:
    """The one to change to (nginx ``user``); None: stay who we are.

    :raises ValueError: there is no such user or group.
    """
    if user is None and group is None:
        return None
    if os.geteuid() != 0:
        _log.warning('"user" and "group" are ignored: only root may change to them')
        return None
    try:
        entry = pwd.getpwnam(user) if user is not None else pwd.getpwuid(0)
    except KeyError:
        raise ValueError(f"user: there is no user {user!r}") from None
    try:
        gid = grp.getgrnam(group).gr_gid if group is not None else None
    except KeyError:
        raise ValueError(f"group: there is no group {group!r}") from None
    return Identity.of(entry, gid)


def own_log(path: str, who: Identity | None) -> None:
    """Make a log that the children can open, as nginx does when root starts it."""
    if who is None or path in ("-", "off"):
        return
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o640)
    try:
        os.fchown(fd, who.uid, -1)
    finally:
        os.close(fd)


def raise_fd_limit() -> None:
    """Use what the system allows (nginx ``worker_rlimit_nofile``): two descriptors a request."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))
