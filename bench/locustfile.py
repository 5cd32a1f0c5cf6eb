"""Matrix users and federating servers for locust: how a deployment behaves, not how fast it is.

Works against a real Synapse and against ``synproxy demo``, whose stand-ins say which worker
answered: there it is also checked that each request reached the right pool. See README.md.
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
from locust import FastHttpUser, between, events, tag, task
from locust.contrib.fasthttp import FastResponse

_CLIENT = "/_matrix/client/v3"
_NUMBERS = itertools.count(1)


@events.init_command_line_parser.add_listener
def _arguments(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Matrix")
    group.add_argument("--matrix-prefix", default="load", help="users are PREFIX1, PREFIX2, ...")
    group.add_argument("--matrix-password", default="load-test-password")
    group.add_argument(
        "--matrix-register",
        action="store_true",
        help="register the users (needs open registration without verification)",
    )
    group.add_argument("--sync-timeout", type=int, default=30000, help="of a long poll, ms")
    group.add_argument("--media-bytes", type=int, default=100_000, help="per upload")


class Matrix(FastHttpUser):  # type: ignore[misc]  # locust's classes are not all typed
    """Requests whose answers are checked; the base of all users."""

    abstract = True
    connection_timeout = 10.0
    network_timeout = 120.0

    def call(
        self,
        method: str,
        path: str,
        *,
        name: str,
        pool: str = "main",
        accept: tuple[int, ...] = (200,),
        **more: Any,
    ) -> tuple[int, Any]:
        """One request; returns its status and decoded JSON, {} if it is none.

        ``pool``: where the shipped configuration sends it; judged when a stand-in answers.
        """
        with self.client.request(method, path, name=name, catch_response=True, **more) as response:
            answer = _decoded(response)
            worker = answer.get("worker") if isinstance(answer, dict) else None
            if worker is not None and not worker.startswith(_WORKERS[pool]):
                response.failure(f"{worker} answered, which is not in pool {pool}")
            elif worker is None and response.status_code not in accept:
                code = answer.get("errcode", "") if isinstance(answer, dict) else ""
                response.failure(f"status {response.status_code} {code}")
            elif worker is not None and answer.get("target") != path:
                response.failure(f"arrived as {answer.get('target')}")
            else:
                response.success()
            return response.status_code, answer


class MatrixUser(Matrix):
    """Somebody with a client open: one long poll after the other, and now and then a message."""

    weight = 10
    wait_time = between(1, 5)

    def on_start(self) -> None:
        options = self.environment.parsed_options
        self.localpart = f"{options.matrix_prefix}{next(_NUMBERS)}"
        self.transactions = itertools.count(time.time_ns())
        self.media: list[tuple[str, str]] = []
        self.headers = {"Authorization": f"Bearer {self._log_in()}"}
        self.since = self._sync("")
        _, answer = self.call(
            *("POST", f"{_CLIENT}/createRoom"),
            name="POST createRoom",
            headers=self.headers,
            json={"name": f"Room of {self.localpart}", "preset": "public_chat"},
        )
        self.room = quote(str(answer.get("room_id", "!stand-in:example.org")), safe="")
        self.polling = gevent.spawn(self._poll)

    def on_stop(self) -> None:
        self.polling.kill()

    def _log_in(self) -> str:
        options = self.environment.parsed_options
        if options.matrix_register:
            self.call(
                *("POST", f"{_CLIENT}/register"),
                name="POST register",
                pool="login",
                accept=(200, 400),  # M_USER_IN_USE: a user of an earlier run
                json={
                    "username": self.localpart,
                    "password": options.matrix_password,
                    "auth": {"type": "m.login.dummy"},
                    "inhibit_login": True,
                },
            )
        _, answer = self.call(
            *("POST", f"{_CLIENT}/login"),
            name="POST login",
            pool="login",
            json={
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": self.localpart},
                "password": options.matrix_password,
            },
        )
        made_up = base64.b64encode(self.localpart.encode()).decode().rstrip("=")
        return str(answer.get("access_token", f"syt_{made_up}_standin_000000"))

    def _sync(self, since: str) -> str:
        """One sync; returns the token for the next one."""
        timeout = self.environment.parsed_options.sync_timeout
        query = f"since={quote(since)}&timeout={timeout}" if since else "timeout=0"
        _, answer = self.call(
            *("GET", f"{_CLIENT}/sync?{query}"),
            name="GET sync (long poll)" if since else "GET sync (initial)",
            pool="normal_sync" if since else "initial_sync",
            headers=self.headers,
        )
        return str(answer.get("next_batch", "s1_2_3"))

    def _poll(self) -> None:
        while True:
            began = time.monotonic()
            self.since = self._sync(self.since)
            if time.monotonic() - began < 0.01:
                gevent.sleep(1)  # an error that comes at once: as clients do, not in a tight loop

    @tag("send")
    @task(10)
    def send_message(self) -> None:
        transaction = next(self.transactions)
        self.call(
            *("PUT", f"{_CLIENT}/rooms/{self.room}/send/m.room.message/{transaction}"),
            name="PUT send",
            accept=(200, 429),  # M_LIMIT_EXCEEDED: Synapse's own rate limit
            headers=self.headers,
            json={"msgtype": "m.text", "body": f"message {transaction} of {self.localpart}"},
        )

    @tag("read")
    @task(3)
    def read_back(self) -> None:
        self.call(
            *("GET", f"{_CLIENT}/rooms/{self.room}/messages?dir=b&limit=20"),
            name="GET messages",
            headers=self.headers,
        )

    @tag("media")
    @task(2)
    def upload(self) -> None:
        content = random.randbytes(self.environment.parsed_options.media_bytes)
        status, answer = self.call(
            *("POST", "/_matrix/media/v3/upload?filename=noise.bin"),
            name="POST media upload",
            pool="media",
            accept=(200, 429),
            headers={**self.headers, "Content-Type": "application/octet-stream"},
            data=content,
        )
        if answer.get("body_bytes", len(content)) != len(content):
            raise ValueError(f"{answer['body_bytes']} of {len(content)} bytes arrived")
        if status == 200 and "content_uri" in answer:
            self.media.append((answer["content_uri"], hashlib.sha256(content).hexdigest()))

    @tag("media")
    @task(4)
    def download(self) -> None:
        """What was uploaded, compared by its hash; with stand-ins only the route is checked."""
        if not self.media:
            path = "/_matrix/client/v1/media/download/example.org/none"
            self.call(
                *("GET", path),
                name="GET media download",
                pool="media",
                accept=(200, 404),
                headers=self.headers,
            )
            return
        uri, wanted = random.choice(self.media)
        with self.client.get(
            f"/_matrix/client/v1/media/download/{uri.removeprefix('mxc://')}",
            name="GET media download",
            headers=self.headers,
            catch_response=True,
        ) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
            elif hashlib.sha256(response.content).hexdigest() != wanted:
                response.failure("the content is not what was uploaded")
            else:
                response.success()


class RemoteServer(Matrix):
    """Another homeserver. Its signatures are not valid: a real Synapse answers 401, which shows
    that the request went through the proxy to a federation worker, and costs no more."""

    weight = 1
    wait_time = between(0.5, 2)

    def on_start(self) -> None:
        self.origin = f"server{next(_NUMBERS)}.example.org"
        self.transactions = itertools.count(time.time_ns())

    def _headers(self) -> dict[str, str]:
        signature = "A" * 86
        return {
            "Authorization": f'X-Matrix origin="{self.origin}",key="ed25519:1",sig="{signature}"'
        }

    @tag("federation")
    @task(5)
    def send_transaction(self) -> None:
        self.call(
            *("PUT", f"/_matrix/federation/v1/send/{next(self.transactions)}"),
            name="PUT federation send",
            pool="federation_requests",
            accept=(200, 401, 403),
            headers=self._headers(),
            json={"origin": self.origin, "origin_server_ts": time.time_ns() // 10**6, "pdus": []},
        )

    @tag("federation")
    @task(2)
    def fetch_event(self) -> None:
        event = quote("$" + base64.urlsafe_b64encode(random.randbytes(32)).decode()[:43], safe="")
        self.call(
            *("GET", f"/_matrix/federation/v1/event/{event}"),
            name="GET federation event",
            pool="incoming_federation",
            accept=(200, 401, 403, 404),
            headers=self._headers(),
        )


_WORKERS = {
    "main": "main",
    "login": "login",
    "initial_sync": "initial_sync",
    "normal_sync": "normal_sync",
    "media": "media",
    "incoming_federation": "federation",
    "federation_requests": "federation",
}
"""How the names of a pool's workers begin in the shipped configuration."""


def _decoded(response: FastResponse) -> Any:
    try:
        return json.loads(response.text or "{}")
    except ValueError:
        return {}
