"""What systemd says about the service, and what if there is none."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from synproxy.cli.doctor.unit import read_unit, run

SHOWN = "LoadState=loaded\nUser=synproxy\nSupplementaryGroups=a b\nLimitNOFILE=65536\n"


@pytest.mark.parametrize(
    ("shown", "user"),
    [(SHOWN, "synproxy"), ("LoadState=not-found\nUser=\n", None), ("", None), ("garbage", None)],
)
def test_a_unit_is_known_if_it_is_loaded(shown: str, user: str | None) -> None:
    asked: list[Sequence[str]] = []

    def runner(command: Sequence[str]) -> str:
        asked.append(command)
        return shown

    assert read_unit(runner=runner).get("User") == user
    ((program, verb, unit, properties),) = asked
    assert (program, verb, unit) == ("systemctl", "show", "synproxy.service")
    assert "LimitNOFILE" in properties


@pytest.mark.parametrize(
    ("command", "printed"),
    [(["echo", "a=b"], "a=b\n"), (["false"], ""), (["/no/such/program"], "")],
)
def test_a_command_that_fails_says_nothing(command: list[str], printed: str) -> None:
    assert run(command) == printed
