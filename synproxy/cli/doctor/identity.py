"""Who asks: the user whose permissions decide which sockets can be reached.

Must not know sockets.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass, replace

from synproxy.cli.doctor.finding import Finding, ok, warn
from synproxy.runtime import identity as process


@dataclass(frozen=True, slots=True)
class Identity:
    """A user with its groups, as the kernel judges it."""

    uid: int
    groups: frozenset[int]

    @classmethod
    def current(cls) -> Identity:
        return cls(os.geteuid(), frozenset({os.getegid(), *os.getgroups()}))

    @property
    def name(self) -> str:
        return user_name(self.uid)

    @property
    def is_root(self) -> bool:
        return self.uid == 0

    def __str__(self) -> str:
        groups = ", ".join(sorted(map(group_name, self.groups)))
        return f"{self.name} (uid {self.uid}, groups {groups})"


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def become(user: str, extra_groups: Sequence[str]) -> None:
    """Go on as another user for good, as systemd does for ``User=`` and ``SupplementaryGroups=``.

    :raises ValueError: no such user or group.
    :raises PermissionError: only root may.
    """
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ValueError(f"there is no user {user}") from None
    served = process.Identity.of(entry)
    groups = set(served.groups)
    for name in extra_groups:
        try:
            groups.add(grp.getgrnam(name).gr_gid)
        except KeyError:
            raise ValueError(f"there is no group {name}") from None
    replace(served, groups=tuple(sorted(groups))).assume()


def check_user(identity: Identity, unit: dict[str, str]) -> Finding:
    """Whether the answers about permissions hold for the service. ``unit`` is systemd's view."""
    served_by = unit.get("User") or "synproxy"
    if identity.is_root:
        groups = ",".join(unit.get("SupplementaryGroups", "").split())
        user = f"{served_by}:{groups}" if groups else served_by
        return warn(
            "user",
            str(identity),
            "root passes every permission, so nothing is known about the service's user",
            f"synproxy doctor --user {user}",
        )
    if unit.get("User") and identity.name != served_by:
        return warn(
            "user",
            str(identity),
            f"synproxy.service runs as {served_by}, which may have other permissions",
            f"sudo synproxy doctor --user {served_by}",
        )
    return ok("user", str(identity), "the permissions below are this user's")
