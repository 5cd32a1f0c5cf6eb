"""The truth beside the load: a slow client that compares every byte it gets, and the books."""

from __future__ import annotations

import gzip
import http.client
import random
import socket
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path

from bench.lib import matrix
from bench.lib.standin import read_control


class Checker(threading.Thread):
    """Sends a checked request every 50 ms until stopped; ``problems`` must stay empty.

    ``sizes``: syncs of these sizes, compressed; without it, small ones, not compressed.
    ``sends``: messages instead of syncs. ``forwards_headers``: what the worker got is compared.
    """

    def __init__(
        self,
        port: int,
        *,
        context: ssl.SSLContext | None = None,
        sizes: Sequence[int] = (),
        sends: bool = False,
        forwards_headers: bool = True,
    ) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._context = context
        self._sizes = sizes
        self._sends = sends
        self._forwards_headers = forwards_headers
        self._ended = threading.Event()
        self.checked = 0
        self.problems: list[str] = []

    def __enter__(self) -> Checker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()
        if not self.checked:
            self.problems.append("no answer could be checked")

    def run(self) -> None:
        connection = self._connect()
        while not self._ended.wait(0.05):
            try:
                self._check(connection)
            except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
                self.problems.append(f"{type(error).__name__}: {error}")
                connection.close()
            self.checked += 1
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        if self._context is None:
            return http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        return http.client.HTTPSConnection(
            "127.0.0.1", self._port, timeout=10, context=self._context
        )

    def _check(self, connection: http.client.HTTPConnection) -> None:
        name = f"check{random.randrange(10**12)}"
        sent = {
            "Host": matrix.HOST,
            "Authorization": f"Bearer {matrix.token(f'user{random.randrange(100)}')}",
            "Origin": "https://app.element.io",
            "Accept-Encoding": "gzip" if self._sizes else "identity",
        }
        if self._sends:
            method = "PUT"
            target = f"/_matrix/client/v3/rooms/!room:example.org/send/m.room.message/{name}"
            body = matrix.send_body(matrix.text(random.randrange(2000), random.Random()))
            sent["Content-Type"] = "application/json"
        else:
            method, body = "GET", b""
            target = f"/_matrix/client/v3/sync?since={name}&timeout=0&filter=%7B%22a%22%3A1%7D"
            if self._sizes:
                target += f"&size={random.choice(self._sizes)}"
        connection.request(method, target, body=body or None, headers=sent)
        answer = connection.getresponse()
        content = self._content(answer)
        self._expect(answer.status, 200, "status")
        if self._sends:
            self._expect(content["body"], body.decode(), "the body that arrived")
        else:
            self._expect(content["next_batch"], f"{name}_next", "next_batch")
        for line in matrix.ANSWER_HEAD.split("\r\n")[3:-3]:  # without what is the proxy's to set
            field, _, value = line.partition(": ")
            self._expect(answer.headers.get_all(field), [value], field)
        if self._forwards_headers:
            self._check_forwarded(str(content["head"]), f"{method} {target} HTTP/1.1", sent)

    def _content(self, answer: http.client.HTTPResponse) -> dict[str, object]:
        data = answer.read()
        coding = answer.headers.get("Content-Encoding")
        self._expect(coding, "gzip" if self._sizes else None, "Content-Encoding")
        return matrix.unseal(gzip.decompress(data) if coding == "gzip" else data)

    def _check_forwarded(self, head: str, request_line: str, sent: dict[str, str]) -> None:
        lines = head.split("\r\n")
        self._expect(lines[0], request_line, "request line")
        got: dict[str, list[str]] = {}
        for line in lines[1:-2]:
            name, _, value = line.partition(":")
            got.setdefault(name.lower(), []).append(value.strip())
        self._expect(got.get("host"), [matrix.HOST], "Host")
        self._expect(got.get("authorization"), [sent["Authorization"]], "Authorization")
        self._expect(got.get("origin"), [sent["Origin"]], "Origin")
        self._expect(got.get("x-forwarded-for"), ["127.0.0.1"], "X-Forwarded-For")
        scheme = "http" if self._context is None else "https"
        self._expect(got.get("x-forwarded-proto"), [scheme], "X-Forwarded-Proto")
        self._expect(got.get("accept-encoding"), None, "Accept-Encoding")

    def _expect(self, got: object, wanted: object, what: str) -> None:
        if got != wanted:
            self.problems.append(f"{what}: {got!r} instead of {wanted!r}")


def control(directory: Path, command: str = "") -> dict[str, int]:
    """The stand-in's counters; ``command``: ``release`` answers every held sync."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{directory}/control.sock")
        connection.sendall(f"GET /control?{command}=1 HTTP/1.1\r\n\r\n".encode())
        data = b""
        while not data.endswith(b"\r\n0\r\n\r\n"):
            data += connection.recv(65536)
    body = data.partition(b"\r\n\r\n")[2].partition(b"\r\n")[2]
    return read_control(body[: body.index(b"\r\n")])
