"""The checker beside the load finds what is wrong."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from bench.lib import matrix
from bench.lib.checker import Checker


def problems(old: bytes = b"", new: bytes = b"") -> list[str]:
    """What the checker says of a server that has replaced ``old`` in each of its answers."""
    answered = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            since = parse_qs(urlsplit(self.path).query)["since"][0]
            body = matrix.sealed({"next_batch": f"{since}_next"})
            self.wfile.write(matrix.chunked_answer(body, time.time()).replace(old, new))
            answered.set()

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with Checker(server.server_port, forwards_headers=False) as checker:
            assert answered.wait(30)
        server.shutdown()
        thread.join()
    return checker.problems


def test_it_is_silent_when_all_is_right() -> None:
    assert problems(b"same", b"same") == []


def test_it_sees_a_wrong_status() -> None:
    assert problems(b" 200 OK", b" 500 OK")[0] == "status: 500 instead of 200"


def test_it_sees_a_wrong_byte_in_the_body() -> None:
    assert problems(b"_next", b"_nExt")[0] == "ValueError: the body's checksum is wrong"


def test_it_sees_a_missing_field() -> None:
    wrong = problems(b"Access-Control-Allow-Origin: *\r\n")
    assert wrong[0] == "Access-Control-Allow-Origin: None instead of ['*']"


def test_it_sees_that_nothing_could_be_checked() -> None:
    with Checker(1) as checker:  # nobody listens there
        pass
    assert checker.problems
