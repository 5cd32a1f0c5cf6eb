"""Which permission is missing, and the command that gives it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from synproxy.cli.doctor.identity import Identity
from synproxy.cli.doctor.permissions import describe, find_denial, permits

OWNER, GROUP, STRANGER = 4242, 4343, 4444
A_STRANGER = Identity(STRANGER, frozenset({STRANGER}))
A_MEMBER = Identity(STRANGER, frozenset({STRANGER, GROUP}))
THE_OWNER = Identity(OWNER, frozenset({OWNER}))
ROOT = Identity(0, frozenset({0}))


def status(mode: int) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, OWNER, GROUP, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "owner", "member", "stranger"),
    [
        (0o666, True, True, True),
        (0o660, True, True, False),
        (0o600, True, False, False),
        (0o606, True, False, True),  # a member of the group is no stranger
        (0o066, False, True, True),  # the owner's bits alone count for the owner
        (0o444, False, False, False),
    ],
)
def test_mode_bits_are_read_as_the_kernel_reads_them(
    mode: int, owner: bool, member: bool, stranger: bool
) -> None:
    assert permits(status(mode), THE_OWNER, 2) is owner
    assert permits(status(mode), A_MEMBER, 2) is member
    assert permits(status(mode), A_STRANGER, 2) is stranger
    assert permits(status(mode), ROOT, 2)


@pytest.fixture
def sock(sockets: Path) -> Path:
    """A socket of somebody in a directory of somebody."""
    path = sockets / "run" / "a.sock"
    path.parent.mkdir()
    sockets.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    os.chown(path, OWNER, GROUP)
    os.chown(path.parent, OWNER, GROUP)
    return path


@pytest.mark.parametrize(
    ("directory", "mode", "identity", "reason", "remedy"),
    [
        (0o700, 0o666, A_STRANGER, "may not enter {run} (mode 0700, owner", "chmod o+x {run}"),
        (
            0o750,
            0o666,
            A_STRANGER,
            "may not enter {run} (mode 0750, owner",
            "usermod -aG 4343 4444",
        ),
        (0o755, 0o660, A_STRANGER, "may not connect (mode 0660, owner", "usermod -aG 4343 4444"),
        (0o755, 0o600, A_STRANGER, "may not connect (mode 0600, owner", "chmod o+w {sock} now"),
        (0o755, 0o600, A_MEMBER, "may not connect (mode 0600, owner", "chmod g+w {sock} now"),
        (0o755, 0o666, A_STRANGER, "although all modes allow it", "look for an ACL"),
    ],
)
def test_the_first_obstacle_is_named_with_its_remedy(
    sock: Path, directory: int, mode: int, identity: Identity, reason: str, remedy: str
) -> None:
    sock.chmod(mode)
    sock.parent.chmod(directory)
    denial = find_denial(sock, identity)
    assert reason.format(run=sock.parent, sock=sock) in denial.reason
    assert str(identity) in denial.reason
    assert denial.remedy.startswith(remedy.format(run=sock.parent, sock=sock))


@pytest.mark.parametrize(
    ("mode", "lasting"), [(0o660, "SupplementaryGroups=4343"), (0o600, "mode: 0666")]
)
def test_a_remedy_says_what_makes_it_last(sock: Path, mode: int, lasting: str) -> None:
    sock.chmod(mode)
    sock.parent.chmod(0o755)
    assert lasting in find_denial(sock, A_STRANGER).remedy


def test_a_file_is_described_with_mode_and_names(sock: Path) -> None:
    os.chown(sock, 0, 0)
    sock.chmod(0o640)
    assert describe(sock) == "mode 0640, owner root:root"
