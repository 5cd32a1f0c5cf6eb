"""What systemd knows of the service: its user, groups and limits. Nothing, without systemd."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence

PROPERTIES = ("LoadState", "User", "SupplementaryGroups", "LimitNOFILE")
_TIMEOUT = 5.0  # seconds


def run(command: Sequence[str]) -> str:
    """What a command prints; empty if it cannot be run, fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def read_unit(
    name: str = "synproxy.service", runner: Callable[[Sequence[str]], str] = run
) -> dict[str, str]:
    """Properties of a unit by systemd's names; empty if there is no such unit."""
    shown = runner(["systemctl", "show", name, f"--property={','.join(PROPERTIES)}"])
    found = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    return found if found.get("LoadState") == "loaded" else {}
