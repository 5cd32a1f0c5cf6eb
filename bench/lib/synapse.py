"""A real Synapse with a sync worker in the place of the stand-in (tests/support/lab)."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.lib.setup import Setup
from tests.support.lab import Lab, LabError
from tests.support.lab.deployment import WORKERS

WORKER = "normal_sync1"
_FORWARDED = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http"}


@dataclass(frozen=True, slots=True)
class Account:
    """A user with one room, and where his next sync begins."""

    token: str
    since: str


@contextlib.contextmanager
def synapse(directory: Path, setup: Setup) -> Iterator[None]:
    """Starts Synapse; its sockets get the names of the stand-in's. Raises RuntimeError."""
    for left_over in directory.glob("*.sock"):
        left_over.unlink()
    with contextlib.ExitStack() as stack:
        try:
            lab = stack.enter_context(Lab([one for one in WORKERS if one.name == WORKER]))
        except LabError as error:
            raise RuntimeError(str(error)) from error
        for server in setup.servers():
            name = WORKER if server.startswith("normal_sync") else "main"
            (directory / f"{server}.sock").symlink_to(lab.places.inbound(name))
        account = _register(lab.places.inbound("main"), lab.places.inbound(WORKER))
        (directory / "account.json").write_text(json.dumps([account.token, account.since]))
        yield


def account(directory: Path) -> Account:
    """The user that ``synapse`` has made."""
    return Account(*json.loads((directory / "account.json").read_text()))


def _register(main: Path, worker: Path) -> Account:
    new = {"username": "bench", "password": "bench", "auth": {"type": "m.login.dummy"}}
    token = _call(main, "POST", "/_matrix/client/v3/register", "", new)["access_token"]
    _call(main, "POST", "/_matrix/client/v3/createRoom", token, {"name": "bench"})
    since = _call(worker, "GET", "/_matrix/client/v3/sync?timeout=0", token)["next_batch"]
    return Account(token, since)


def _call(
    path: Path, method: str, target: str, token: str, content: Mapping[str, object] | None = None
) -> dict[str, str]:
    connection = _UnixConnection(path)
    headers = {**_FORWARDED, "Authorization": f"Bearer {token}"} if token else dict(_FORWARDED)
    with contextlib.closing(connection):
        connection.request(method, target, json.dumps(content) if content else None, headers)
        answer = connection.getresponse()
        body = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"Synapse answered {answer.status} to {method} {target}: {body[:200]!r}")
    decoded: dict[str, str] = json.loads(body)
    return decoded


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
