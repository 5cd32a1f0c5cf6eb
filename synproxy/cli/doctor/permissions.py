"""Why a path is denied to a user, and the command that lets it in.

Judges mode bits as the kernel does (path_resolution(7), unix(7): connecting needs write
permission on the socket and search permission on every directory above it). Must not connect.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from synproxy.cli.doctor.identity import Identity, group_name, user_name

_SEARCH, _WRITE = 1, 2


@dataclass(frozen=True, slots=True)
class Denial:
    """What stands in the way."""

    reason: str
    remedy: str


def describe(path: Path) -> str:
    """Mode, owner and group of a file, as an administrator writes them."""
    status = path.stat()
    owner = f"{user_name(status.st_uid)}:{group_name(status.st_gid)}"
    return f"mode {stat.S_IMODE(status.st_mode):04o}, owner {owner}"


def permits(status: os.stat_result, identity: Identity, bit: int) -> bool:
    """Whether mode bits grant ``bit``: the owner's decide for the owner, the group's for its
    members, the others' for the rest."""
    if identity.is_root:
        return True
    if identity.uid == status.st_uid:
        shift = 6
    elif status.st_gid in identity.groups:
        shift = 3
    else:
        shift = 0
    return bool(status.st_mode >> shift & bit)


def find_denial(path: Path, identity: Identity) -> Denial:
    """The first thing on the way to a socket that keeps this user from connecting to it."""
    for directory in reversed(path.parents):
        try:
            status = directory.stat()
        except OSError:
            break
        if not permits(status, identity, _SEARCH):
            return _directory_denial(directory, status, identity)
    with suppress(OSError):
        status = path.stat()
        if not permits(status, identity, _WRITE):
            return _socket_denial(path, status, identity)
    return Denial(
        f"denied to {identity} although all modes allow it",
        "look for an ACL (getfacl), AppArmor or SELinux, or the sandbox of the unit",
    )


def _directory_denial(directory: Path, status: os.stat_result, identity: Identity) -> Denial:
    reason = f"{identity} may not enter {directory} ({describe(directory)})"
    if _group_helps(status, identity, _SEARCH):
        return Denial(reason, _join_group(status, identity))
    lasting = " and RuntimeDirectoryMode=0755 in the unit that makes it, to last"
    made_anew = directory.is_relative_to("/run") or directory.is_relative_to("/var/run")
    return Denial(reason, f"chmod o+x {directory}{lasting if made_anew else ''}")


def _socket_denial(path: Path, status: os.stat_result, identity: Identity) -> Denial:
    reason = f"{identity} may not connect ({describe(path)})"
    if _group_helps(status, identity, _WRITE):
        return Denial(reason, _join_group(status, identity))
    if status.st_gid in identity.groups and identity.uid != status.st_uid:
        return Denial(
            reason,
            f"chmod g+w {path} now, and to last 'mode: 0660' beside its 'path:' in Synapse's"
            " configuration (or SocketMode=0660 if a .socket unit makes it)",
        )
    return Denial(
        reason,
        f"chmod o+w {path} now, and to last 'mode: 0666' beside its 'path:' in Synapse's"
        " configuration (or SocketMode=0666 if a .socket unit makes it)",
    )


def _group_helps(status: os.stat_result, identity: Identity, bit: int) -> bool:
    """Whether being a member of the file's group would be enough."""
    is_other = identity.uid != status.st_uid and status.st_gid not in identity.groups
    return is_other and bool(status.st_mode >> 3 & bit)


def _join_group(status: os.stat_result, identity: Identity) -> str:
    group = group_name(status.st_gid)
    return (
        f"usermod -aG {group} {identity.name} (or SupplementaryGroups={group} in"
        " synproxy.service), then systemctl restart synproxy"
    )
