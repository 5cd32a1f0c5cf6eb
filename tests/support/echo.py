"""A server on a UNIX socket that answers with what it was asked, as JSON."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path


class Echo(BaseHTTPRequestHandler):
    """``line``, ``fields`` and ``body`` of the request, with a few fields of its own."""

    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "unix:"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the proxy has a log."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, ValueError):  # the proxy has given it up
            self.close_connection = True

    def read_body(self) -> bytes:
        """However it is framed."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("X-Own", "yes")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def respond(self) -> None:
        told = {
            "line": self.requestline,
            "fields": self.headers.items(),
            "body": self.read_body().decode("latin-1"),
        }
        self.answer(json.dumps(told).encode(), "application/json")

    do_GET = do_HEAD = do_POST = do_PUT = do_OPTIONS = respond  # noqa: N815


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 256


@contextmanager
def serving(path: Path, handler: type[Echo] = Echo) -> Iterator[None]:
    """In a thread for each connection."""
    with _Server(str(path), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
