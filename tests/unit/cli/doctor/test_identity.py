"""Whose permissions the answers are about."""

from __future__ import annotations

import os

import pytest

from synproxy.cli.doctor.identity import Identity, become, check_user

NOBODY = Identity(65534, frozenset({65534}))
ROOT = Identity(0, frozenset({0}))


@pytest.mark.parametrize(
    ("identity", "unit", "status", "remedy"),
    [
        (NOBODY, {}, "ok", ""),
        (NOBODY, {"User": "nobody"}, "ok", ""),
        (NOBODY, {"User": "synproxy"}, "warn", "sudo synproxy doctor --user synproxy"),
        (ROOT, {}, "warn", "synproxy doctor --user synproxy"),
        (
            ROOT,
            {"User": "proxy", "SupplementaryGroups": "matrix-synapse adm"},
            "warn",
            "synproxy doctor --user proxy:matrix-synapse,adm",
        ),
    ],
)
def test_the_answers_hold_for_the_user_of_the_service_only(
    identity: Identity, unit: dict[str, str], status: str, remedy: str
) -> None:
    found = check_user(identity, unit)
    assert (found.status, found.remedy) == (status, remedy)
    assert found.subject == str(identity)


def test_a_user_is_named_with_number_and_groups() -> None:
    assert str(NOBODY) == "nobody (uid 65534, groups nogroup)"
    assert str(Identity(4242, frozenset({4343}))) == "4242 (uid 4242, groups 4343)"


@pytest.mark.parametrize(
    ("user", "groups", "message"),
    [("nosuchuser", [], "no user nosuchuser"), ("nobody", ["nosuch"], "no group nosuch")],
)
def test_nobody_becomes_a_user_that_does_not_exist(
    user: str, groups: list[str], message: str
) -> None:
    before = (os.getuid(), os.getgid(), os.getgroups())
    with pytest.raises(ValueError, match=message):
        become(user, groups)
    assert (os.getuid(), os.getgid(), os.getgroups()) == before


def test_a_user_is_become_with_all_its_groups() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # it cannot be undone, so not in this process
        become("nobody", ["adm"])
        os.write(writer, str(Identity.current()).encode())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(reader, 1000) == b"nobody (uid 65534, groups adm, nogroup)"
    os.close(reader)
    os.close(writer)
