"""The requests that the demo shows: what each is for, how to type it, and where it must land.

Must not know sockets or processes.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

# Synapse's own form: syt_<base64 of the localpart>_<random>_<checksum>; nobody issued these.
ALICE = {"Authorization": "Bearer syt_YWxpY2U_demo_000000"}
BOB = {"Authorization": "Bearer syt_Ym9i_demo_000000"}

_SYNC = "/_matrix/client/v3/sync"
_ADMIN = "/_synapse/admin/v1/purge_media_cache?before_ts=0"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: Any
    """Decoded JSON, or None if it was none."""

    @property
    def worker(self) -> str:
        """The worker that answered; empty if synproxy did."""
        return str(self.body.get("worker", "")) if isinstance(self.body, dict) else ""


@dataclass(frozen=True, slots=True)
class Step:
    """One request. It lands right in `pool`, or if that is empty, when synproxy itself answers
    with `status`."""

    why: str
    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    pool: str = ""
    status: int = 200
    as_before: bool = False  # must land on the worker that answered the step before

    def curl(self, base: str) -> str:
        """The command line that sends this request."""
        words = ["curl", "-s"]
        if self.method != "GET":
            words += ["-X", self.method]
        for name, value in self.headers.items():
            words += ["-H", f"{name}: {value}"]
        if self.body:
            words += ["-d", self.body]
        return shlex.join([*words, base + self.path])

    def mistake(self, answer: Answer, workers: Sequence[str], before: str) -> str:
        """What is wrong with the answer; empty if nothing. `workers` are those of the pool,
        `before` is the worker of the step before."""
        if answer.status != self.status:
            return f"status {answer.status} instead of {self.status}"
        if not self.pool:
            if isinstance(answer.body, dict) and answer.body.get("errcode") == "M_FORBIDDEN":
                return ""
            return "not the Matrix error M_FORBIDDEN"
        if answer.worker not in workers:
            return f"answered by {answer.worker or 'synproxy'}, which is not in pool {self.pool}"
        if self.as_before and answer.worker != before:
            return f"answered by {answer.worker}, the request before by {before}"
        if answer.body.get("target") != self.path:
            return f"arrived as {answer.body.get('target')}"
        return ""

    def landed(self, answer: Answer) -> str:
        """In words, where the request went."""
        if answer.worker:
            return f"{answer.status} from worker {answer.worker}"
        return f"{answer.status} from synproxy: {json.dumps(answer.body)}"


TOUR: tuple[Step, ...] = (
    Step(
        "Login goes to the login worker.",
        "/_matrix/client/v3/login",
        method="POST",
        headers={"Content-Type": "application/json"},
        body='{"type":"m.login.password"}',
        pool="login",
    ),
    Step(
        "A sync without since is an initial sync: heavy, so it has its own workers.",
        _SYNC,
        headers=ALICE,
        pool="initial_sync",
    ),
    Step(
        "With since it is a normal sync; the user's name picks the worker.",
        f"{_SYNC}?since=s1_2_3",
        headers=ALICE,
        pool="normal_sync",
    ),
    Step(
        "The same user comes to the same worker again, where the cache is warm.",
        f"{_SYNC}?since=s4_5_6&timeout=1000",
        headers=ALICE,
        pool="normal_sync",
        as_before=True,
    ),
    Step(
        "Another user may come to another one.",
        f"{_SYNC}?since=s1_2_3",
        headers=BOB,
        pool="normal_sync",
    ),
    Step(
        "Media goes to the media worker.",
        "/_matrix/client/v1/media/download/matrix.example/abcdef",
        headers=ALICE,
        pool="media",
    ),
    Step(
        "Other servers read from any federation reader...",
        "/_matrix/federation/v1/event/" + quote("$abc:matrix.example", safe=""),
        headers={"Authorization": 'X-Matrix origin="other.example"'},
        pool="incoming_federation",
    ),
    Step(
        "...and send transactions to the one that their address picks.",
        "/_matrix/federation/v1/send/1",
        method="PUT",
        headers={"Content-Type": "application/json"},
        body='{"pdus":[]}',
        pool="federation_requests",
    ),
    Step(
        "The admin API is for the addresses on an allowlist; in this demo nobody is on it.",
        _ADMIN,
        method="POST",
        headers=ALICE,
        status=403,
    ),
    Step(
        "Writing the same path differently does not help.",
        _ADMIN.replace("admin", "%61dmin"),
        method="POST",
        headers=ALICE,
        status=403,
    ),
)
