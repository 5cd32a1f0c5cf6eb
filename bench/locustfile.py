"""Matrix users and federating servers for locust: how a deployment behaves, not what it costs.

They work against a real Synapse and against ``synproxy demo``, whose stand-ins tell what arrived:
there it is also checked that targets and bodies come through unchanged, and that a user's syncs
stay with one worker. See "Users at work" in bench/README.md.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import random
import time
from argparse import ArgumentParser
from typing import Any
from urllib.parse import quote

import gevent
from locust import FastHttpUser, events, tag, task
from locust.contrib.fasthttp import FastResponse

CLIENT = "/_matrix/client/v3"
FEDERATION = "/_matrix/federation/v1"
NOBODY = "127.1.0.0:1"
"""The name of a server on loopback that does not listen: Synapse is refused at once."""
_NUMBERS = itertools.count(1)


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _add_arguments(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Matrix")
    group.add_argument("--matrix-prefix", default="load", help="users are PREFIX1, PREFIX2, ...")
    group.add_argument("--matrix-password", default="load-test-password")
    group.add_argument(
        "--matrix-register",
        action="store_true",
        help="register the users first (the homeserver must allow it without verification)",
    )
    group.add_argument("--sync-timeout", type=int, default=30000, help="of a long poll, ms")
    group.add_argument("--media-bytes", type=int, default=100_000, help="per upload")
    group.add_argument("--think-time", type=float, default=3.0, help="between actions, mean, s")


class Peer(FastHttpUser):
    """Whoever talks to the homeserver; every answer is checked."""

    abstract = True
    connection_timeout = 10.0
    network_timeout = 120.0

    def wait_time(self) -> float:
        """Seconds until the next action."""
        mean: float = self.environment.parsed_options.think_time
        return random.uniform(0.5, 1.5) * mean

    def call(
        self, method: str, path: str, name: str, *, accept: tuple[int, ...] = (200,), **more: Any
    ) -> tuple[int, dict[str, Any]]:
        """One request and its answer as JSON, {} if it is none.

        ``name`` groups requests in the statistics; a status outside ``accept`` is a failure.
        """
        with self.client.request(
            method, path, name=f"{method} {name}", catch_response=True, **more
        ) as response:
            answer = _json(response)
            problem = _problem(response, answer, path, accept) or self.objection(answer)
            if problem:
                response.failure(problem)
            else:
                response.success()
            return response.status_code, answer

    def objection(self, answer: dict[str, Any]) -> str:
        """What else is wrong with an answer; nothing, if empty."""
        return ""


class MatrixUser(Peer):
    """Somebody with a client open: one long poll after the other, and now and then a message."""

    weight = 3

    def on_start(self) -> None:
        options = self.environment.parsed_options
        self.localpart = f"{options.matrix_prefix}{next(_NUMBERS)}"
        self.transactions = itertools.count(time.time_ns())
        self.media: list[tuple[str, str]] = []  # (server/id, SHA-256)
        self.sync_worker = ""
        if options.matrix_register:
            self._register()
        self.headers = {"Authorization": f"Bearer {self._log_in()}"}
        self.since = self._sync("", 0)
        room = self._post("createRoom", {"preset": "public_chat"}).get("room_id", "!room:demo")
        self.room = f"{CLIENT}/rooms/{quote(room, safe='')}"
        self.polling = gevent.spawn(self._poll)

    def on_stop(self) -> None:
        self.polling.kill()

    def objection(self, answer: dict[str, Any]) -> str:
        worker = str(answer.get("worker", ""))
        if not worker.startswith("normal_sync"):
            return ""
        self.sync_worker = self.sync_worker or worker
        return "" if worker == self.sync_worker else f"sync moved from {self.sync_worker}: {worker}"

    def _post(self, what: str, content: dict[str, Any], **more: Any) -> dict[str, Any]:
        return self.call(
            "POST", f"{CLIENT}/{what}", what, json=content, headers=self.headers, **more
        )[1]

    def _register(self) -> None:
        password = self.environment.parsed_options.matrix_password
        account = {"username": self.localpart, "password": password, "inhibit_login": True}
        account["auth"] = {"type": "m.login.dummy"}
        in_use = 400  # M_USER_IN_USE: a user of an earlier run
        self.call("POST", f"{CLIENT}/register", "register", json=account, accept=(200, in_use))

    def _log_in(self) -> str:
        """An access token; a made-up one for stand-ins, which issue none."""
        login = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self.localpart},
            "password": self.environment.parsed_options.matrix_password,
        }
        _, answer = self.call("POST", f"{CLIENT}/login", "login", json=login)
        encoded = base64.b64encode(self.localpart.encode()).decode().rstrip("=")
        return str(answer.get("access_token", f"syt_{encoded}_standin_000000"))

    def _sync(self, since: str, timeout_ms: int) -> str:
        """One sync; returns the token for the next one."""
        query = f"timeout={timeout_ms}" + (f"&since={quote(since)}" if since else "")
        name = "sync (long poll)" if since else "sync (initial)"
        _, answer = self.call("GET", f"{CLIENT}/sync?{query}", name, headers=self.headers)
        return str(answer.get("next_batch", "s1_2_3"))

    def _poll(self) -> None:
        while True:
            began = time.monotonic()
            self.since = self._sync(self.since, self.environment.parsed_options.sync_timeout)
            if time.monotonic() - began < 0.01:
                gevent.sleep(1)  # as clients do after an error that comes at once

    @tag("send")
    @task(10)
    def send_message(self) -> None:
        path = f"{self.room}/send/m.room.message/{next(self.transactions)}"
        message = {"msgtype": "m.text", "body": f"Hello from {self.localpart}. " * 5}
        self.call("PUT", path, "send", json=message, headers=self.headers)

    @tag("read")
    @task(3)
    def read_back(self) -> None:
        path = f"{self.room}/messages?dir=b&limit=20"
        self.call("GET", path, "messages", headers=self.headers)

    @tag("media")
    @task(2)
    def upload(self) -> None:
        content = random.randbytes(self.environment.parsed_options.media_bytes)
        _, answer = self.call(
            *("POST", "/_matrix/media/v3/upload?filename=noise.bin", "upload"),
            headers={**self.headers, "Content-Type": "application/octet-stream"},
            data=content,
        )
        if "content_uri" in answer:
            name = answer["content_uri"].removeprefix("mxc://")
            self.media.append((name, hashlib.sha256(content).hexdigest()))

    @tag("media")
    @task(4)
    def download(self) -> None:
        """What this user uploaded, compared by its hash; before that, something unknown."""
        download = "/_matrix/client/v1/media/download"
        if not self.media:
            path = f"{download}/{NOBODY}/none?timeout_ms=0"
            # 200: a stand-in. Synapse has no such media, and nobody answers there for it.
            missing = (200, 404, 502, 504)
            self.call("GET", path, "download (missing)", accept=missing, headers=self.headers)
            return
        name, wanted = random.choice(self.media)
        with self.client.get(
            f"{download}/{name}", name="GET download", headers=self.headers, catch_response=True
        ) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
            elif hashlib.sha256(response.content or b"").hexdigest() != wanted:
                response.failure("the content is not what was uploaded")
            else:
                response.success()


class RemoteServer(Peer):
    """Another homeserver. Its signatures are worth nothing, so that a real Synapse answers 401:
    which shows that the request came through to a federation worker. Its name is as NOBODY's, for
    Synapse wants its keys."""

    weight = 1

    def on_start(self) -> None:
        number = next(_NUMBERS)
        self.origin = f"127.1.{number // 250 % 250}.{number % 250 + 1}:1"
        self.transactions = itertools.count(time.time_ns())
        signature = f'origin="{self.origin}",key="ed25519:1",sig="{"A" * 86}"'
        self.headers = {"Authorization": f"X-Matrix {signature}"}

    @tag("federation")
    @task(5)
    def send_transaction(self) -> None:
        self.call(
            *("PUT", f"{FEDERATION}/send/{next(self.transactions)}", "federation send"),
            accept=(200, 401),
            headers=self.headers,
            json={"origin": self.origin, "origin_server_ts": time.time_ns() // 10**6, "pdus": []},
        )

    @tag("federation")
    @task(2)
    def fetch_event(self) -> None:
        event = "$" + base64.urlsafe_b64encode(random.randbytes(32)).decode()[:43]
        self.call(
            *("GET", f"{FEDERATION}/event/{quote(event, safe='')}", "federation event"),
            accept=(200, 401),
            headers=self.headers,
        )


def _json(response: FastResponse) -> dict[str, Any]:
    try:
        answer = json.loads(response.text or "")
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _problem(
    response: FastResponse, answer: dict[str, Any], path: str, accept: tuple[int, ...]
) -> str:
    """What is wrong with an answer, from its status and from what a stand-in says it received."""
    if response.status_code not in accept:
        return f"status {response.status_code} {answer.get('errcode', '')}".rstrip()
    if "worker" not in answer:
        return ""
    if answer["target"] != path:
        return f"arrived as {answer['target']}"
    sent = len(response.request.body or b"") if response.request is not None else 0
    if answer["body_bytes"] != sent:
        return f"{answer['body_bytes']} of {sent} bytes arrived"
    return ""
