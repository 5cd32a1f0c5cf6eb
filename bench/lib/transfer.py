"""A client of large bodies: both ends hash what they send and receive."""

from __future__ import annotations

import hashlib
import socket
import time
from dataclasses import dataclass

import httptools

from bench.lib import matrix, pattern


@dataclass(frozen=True, slots=True)
class Body:
    """``size`` bytes; ``rate``: what the receiving end takes in a second, 0: no limit."""

    size: int
    framing: str = "length"
    rate: int = 0

    def expected(self) -> dict[str, object]:
        return {"sha256": pattern.sha256(self.size), "bytes": self.size}


class Answer:
    """Receives one answer, hashes its body, and keeps the beginning of it."""

    def __init__(self) -> None:
        self.beginning = b""
        self.length = 0
        self.complete = False
        self._hash = hashlib.sha256()
        self._parser = httptools.HttpResponseParser(self)

    def receive(self, connection: socket.socket, rate: int) -> None:
        """Reads to the end, at most ``rate`` bytes a second; raises OSError when it is cut."""
        began = time.monotonic()
        while not self.complete:
            data = connection.recv(pattern.BLOCK)
            if not data:
                raise ConnectionError(f"closed after {self.length} bytes of the body")
            self._parser.feed_data(data)
            if rate:
                time.sleep(max(0.0, self.length / rate - (time.monotonic() - began)))
        if self._parser.get_status_code() != 200:
            raise ConnectionError(f"answered {self._parser.get_status_code()}")

    def on_body(self, body: bytes) -> None:
        self._hash.update(body)
        self.length += len(body)
        if len(self.beginning) < 4096:
            self.beginning += body

    def on_message_complete(self) -> None:
        self.complete = True

    def sha256(self) -> str:
        return self._hash.hexdigest()


def upload(connection: socket.socket, body: Body) -> dict[str, object]:
    """Sends as fast as it goes; returns what the worker says that it received."""
    chunked = body.framing == "chunked"
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {body.size}"
    target = f"/_matrix/media/v3/upload?filename=a.bin&rate={body.rate}"
    fields = f"Content-Type: application/octet-stream\r\n{framing}\r\n"
    connection.sendall(_head("POST", target, fields))
    for block in pattern.blocks(body.size):
        connection.sendall(b"%x\r\n%s\r\n" % (len(block), block) if chunked else block)
    if chunked:
        connection.sendall(b"0\r\n\r\n")
    answer = Answer()
    answer.receive(connection, 0)
    return matrix.unseal(answer.beginning)


def download(connection: socket.socket, body: Body) -> dict[str, object]:
    """Receives no faster than the body says; returns what came."""
    target = "/_matrix/client/v1/media/download/example.org/stream"
    connection.sendall(_head("GET", f"{target}?bytes={body.size}&framing={body.framing}"))
    answer = Answer()
    answer.receive(connection, body.rate)
    return {"sha256": answer.sha256(), "bytes": answer.length}


def _head(method: str, target: str, fields: str = "") -> bytes:
    token = matrix.token("user1")
    lines = f"{method} {target} HTTP/1.1\r\nHost: {matrix.HOST}\r\nAuthorization: Bearer {token}"
    return f"{lines}\r\n{fields}\r\n".encode()
