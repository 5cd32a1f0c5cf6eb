"""The programs that the lab runs, and what to install where one is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.paths import ROOT

SYNAPSE_ENVIRONMENT = ROOT / ".venv-synapse"
POSTGRESQL_DIRECTORIES = "/usr/lib/postgresql/*/bin"


class LabError(Exception):
    """The lab cannot start; the message says what to do about it."""


def synapse_python() -> Path:
    """The interpreter of the environment that holds Synapse."""
    python = SYNAPSE_ENVIRONMENT / "bin/python"
    if not python.exists():
        raise LabError('Synapse is not installed: run `make lab-tools` (or pytest -m "not e2e")')
    return python


def postgresql(program: str) -> str:
    """A program of the newest PostgreSQL server; Debian keeps them out of PATH."""
    found = sorted(
        Path("/").glob(f"{POSTGRESQL_DIRECTORIES[1:]}/{program}"),
        key=lambda path: int(path.parent.parent.name),
    )
    program_path = str(found[-1]) if found else shutil.which(program)
    if program_path is None:
        raise LabError(f"{program} is missing: sudo apt-get install postgresql")
    return program_path


def redis_server() -> str:
    return _program("redis-server", "redis-server")


def setpriv() -> str:
    return _program("setpriv", "util-linux")


def openssl() -> str:
    return _program("openssl", "openssl")


def _program(name: str, package: str) -> str:
    found = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin")
    if found is None:
        raise LabError(f"{name} is missing: sudo apt-get install {package}")
    return found
