"""The lab itself: starts PostgreSQL, Redis, main and the workers, and ends them by process id."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.support.lab import deployment, tools
from tests.support.lab.child import Child
from tests.support.lab.deployment import SERVER_NAME, WORKERS, Places, Worker
from tests.support.lab.services import Postgresql, Redis

PUBLIC_BASE_URL = "http://127.0.0.1:8008/"


class Lab:
    """A running Synapse with workers. Use it as a context manager; raises LabError.

    ``keep`` leaves its directory (configuration, logs) where it is when the lab ends.
    """

    server_name = SERVER_NAME

    def __init__(self, workers: Sequence[Worker] = WORKERS, keep: bool = False) -> None:
        self.workers = tuple(workers)
        self._keep = keep
        self.directory = Path(tempfile.mkdtemp(prefix="synlab"))
        self.directory.chmod(0o755)  # PostgreSQL's user has its directory below
        self.places = Places(self.directory)
        self.postgresql = Postgresql(self.directory / "pg")
        self.redis = Redis(self.directory)
        self.processes = {
            name: self._synapse(name) for name in ("main", *(w.name for w in self.workers))
        }

    def __enter__(self) -> Self:
        try:
            self._write_files()
            self.postgresql.start()
            self.redis.start()
            self.start("main")  # makes the schema, which the workers expect
            for worker in self.workers:
                self.processes[worker.name].start()
            for worker in self.workers:
                self.wait_ready(worker.name)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """Ends every process that was started and removes the directory."""
        for process in reversed(self.processes.values()):
            process.end()
        self.redis.end()
        self.postgresql.end()
        if not self._keep:
            shutil.rmtree(self.directory)

    def start(self, name: str) -> None:
        """Starts main or a worker and waits until it is healthy."""
        self.processes[name].start()
        self.wait_ready(name)

    def wait_ready(self, name: str) -> None:
        socket_path = self.places.inbound(name)
        self.processes[name].wait_ready(lambda: is_healthy(socket_path))

    def _synapse(self, name: str) -> Child:
        app = "synapse.app.homeserver" if name == "main" else "synapse.app.generic_worker"
        files = ["-c", str(self.places.homeserver)]
        if name != "main":
            files += ["-c", str(self.places.worker(name))]
        command = [str(tools.synapse_python()), "-m", app, *files]
        return Child(name, command, self.places.output(name))

    def _write_files(self) -> None:
        places = self.places
        places.worker("").parent.mkdir()
        _write(
            places.homeserver,
            deployment.homeserver(
                places,
                self.workers,
                self.postgresql.directory,
                self.redis.socket,
                PUBLIC_BASE_URL,
            ),
        )
        for worker in self.workers:
            _write(places.worker(worker.name), deployment.worker_file(places, worker))
        _write(places.appservice, deployment.appservice())
        for name in self.processes:
            _write(places.log_config(name), deployment.log_config(places, name))
        _run(str(tools.SYNAPSE_ENVIRONMENT / "bin/generate_signing_key"), "-o", places.signing_key)
        _run(
            *(tools.openssl(), "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", places.peer_certificate.with_suffix(".key")),
            *("-out", places.peer_certificate),
        )


def is_healthy(path: Path) -> bool:
    """Whether a Synapse process answers 200 to GET /health on its socket."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(str(path))
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise tools.LabError(f"{command[0]} failed:\n{done.stderr}")
