"""Where requests went: synproxy's access log beside what Synapse's processes logged."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.client import Client
from tests.support.lab import Lab
from tests.support.lab.child import wait_until
from tests.support.lab.logs import processed
from tests.support.synproxy import Synproxy

FENCE = "/fence/"


@dataclass(frozen=True, slots=True)
class Landing:
    """One request: what synproxy decided, and which processes say that they handled it."""

    method: str
    target: str
    status: int
    route: str
    pool: str
    server: str
    """The process whose socket synproxy names; empty for an answer of its own."""
    attempts: tuple[tuple[str, int], ...]
    """The process asked, and its status or 0, one by one."""
    processes: tuple[str, ...]
    user_agent: str


class AccessLog:
    """The JSON access log of one synproxy in front of the lab."""

    def __init__(self, lab: Lab, proxy: Synproxy, path: Path) -> None:
        self._lab = lab
        self._proxy = proxy
        self._path = path
        self._names = {f"unix:{lab.places.inbound(name)}": name for name in lab.processes}

    def mark(self) -> int:
        """How many requests were logged so far; all that are finished are."""
        return len(self._lines())

    def since(self, mark: int) -> list[Landing]:
        """The requests after ``mark``, once Synapse has logged each that synproxy had answered."""
        lines = [json.loads(line) for line in self._lines()[mark:]]
        lines = [line for line in lines if not line["target"].startswith(FENCE)]
        answered = {
            line["request_id"]
            for line in lines
            if line["attempts"] and line["attempts"][-1]["status"]
        }
        found: dict[str, list[str]] = {}

        def all_logged() -> bool:
            found.update(processed(self._lab.places, self._lab.processes))
            return answered <= found.keys()

        wait_until(all_logged, "every request in a log of Synapse", 10)
        return [self._landing(line, tuple(found.get(line["request_id"], ()))) for line in lines]

    def landed(self, *requests: tuple[str, str]) -> list[str]:
        """GETs each (target, token) in turn; the processes that handled them."""
        mark = self.mark()
        with Client(self._proxy.port) as client:
            for target, token in requests:
                client.send(
                    f"GET {target} HTTP/1.1\r\n"
                    "Host: lab.test\r\n"
                    f"Authorization: Bearer {token}\r\n\r\n".encode()
                )
                assert client.read_answer() is not None
        return [landing.processes[0] for landing in self.since(mark)]

    def _landing(self, line: dict[str, Any], processes: tuple[str, ...]) -> Landing:
        return Landing(
            line["method"],
            line["target"],
            line["status"],
            line["route"],
            line["pool"],
            self._names.get(line["server"], line["server"]),
            tuple(
                (self._names.get(attempt["server"], attempt["server"]), attempt["status"])
                for attempt in line["attempts"]
            ),
            processes,
            line["user_agent"],
        )

    def _lines(self) -> list[str]:
        """All lines, once a request that is made now is among them: a client has its answer
        before the line is written."""
        target = f"{FENCE}{secrets.token_hex(8)}"
        with Client(self._proxy.port) as client:
            client.send(f"GET {target} HTTP/1.1\r\nHost: lab\r\n\r\n".encode())
            assert client.read_answer() is not None
        wait_until(lambda: f'"target":"{target}"' in self._path.read_text(), "the access log", 10)
        return self._path.read_text().splitlines()
