"""PostgreSQL and Redis on UNIX sockets in directories of their own, without durability."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from tests.support.lab import tools
from tests.support.lab.child import Child

DATABASE = "synapse"
POSTGRESQL_SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{directory}'
fsync = off
synchronous_commit = off
full_page_writes = off
shared_buffers = 64MB
max_connections = 120
"""


class Postgresql:
    """A new database cluster in ``directory``, where its socket is too; nobody needs a password.

    It refuses to run as root, so root drops to ``postgres``.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self._user = "postgres" if os.geteuid() == 0 else None
        self._child = Child(
            "PostgreSQL",
            [tools.postgresql("postgres"), "-D", str(self.data)],
            directory / "postgresql.log",
            user=self._user,
            end_signal=signal.SIGINT,  # "fast shutdown": does not wait for its clients
        )

    def start(self) -> None:
        self.directory.mkdir()
        if self._user is not None:
            shutil.chown(self.directory, self._user, self._user)
        self._run(
            *("initdb", "--pgdata", str(self.data), "--username", DATABASE),
            *("--locale=C", "--encoding=UTF8", "--auth=trust", "--no-sync"),  # Synapse demands C
        )
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write(POSTGRESQL_SETTINGS.format(directory=self.directory))
        self._child.start()
        probe = [tools.postgresql("pg_isready"), "--quiet", "--host", str(self.directory)]
        self._child.wait_ready(lambda: subprocess.run(probe).returncode == 0)
        self._run("createdb", *("--host", str(self.directory), "--username", DATABASE), DATABASE)

    def query(self, sql: str) -> list[list[str]]:
        """The rows of an answer as text."""
        answer = self._run(
            *("psql", "--host", str(self.directory), "--username", DATABASE),
            *("--no-align", "--tuples-only", "--field-separator=\t", "--command", sql, DATABASE),
        )
        return [line.split("\t") for line in answer.splitlines()]

    def end(self) -> None:
        self._child.end()

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [tools.postgresql(program), *arguments],
            capture_output=True,
            text=True,
            cwd=self.directory,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
        )
        if done.returncode != 0:
            raise tools.LabError(f"{program} failed:\n{done.stderr}")
        return done.stdout


class Redis:
    """Redis on ``socket`` only; nothing is stored."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "redis.sock"
        self._child = Child(
            "Redis",
            [
                *(tools.redis_server(), "--port", "0", "--unixsocket", str(self.socket)),
                *("--save", "", "--appendonly", "no", "--dir", str(directory)),
            ],
            directory / "redis.log",
        )

    def start(self) -> None:
        self._child.start()
        self._child.wait_ready(self.socket.exists)

    def end(self) -> None:
        self._child.end()
