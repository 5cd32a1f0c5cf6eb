"""Conversations that a test leads step by step, and the rows that it shows with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tests.differential.bench import Bench
from tests.support.client import Answer, Client
from tests.support.process import ProxyProcess
from tests.support.script import Answer as ServerAnswer

Test = TypeVar("Test", bound=Callable[..., None])
SHOWN: dict[str, set[str]] = {}
"""Rows by the name of the test module that shows them."""


def shows(*rows: str) -> Callable[[Test], Test]:
    """The test asserts both sides of these rows of docs/nginx-differences.md."""

    def mark(test: Test) -> Test:
        SHOWN.setdefault(test.__module__, set()).update(rows)
        return test

    return mark


class Talk:
    """One case on one proxy: a client connection, and the case's mark."""

    def __init__(self, bench: Bench, proxy: ProxyProcess, *answers: ServerAnswer) -> None:
        self.bench = bench
        self.case = bench.case()
        bench.recorder.take()
        bench.recorder.script(self.case, answers)
        self.client = Client(proxy.port)

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def send(self, data: bytes) -> None:
        self.client.send(data.replace(b"%CASE%", self.case))

    def head(self) -> list[bytes]:
        """The lines of the next head."""
        head = self.client.read_until(b"\r\n\r\n")
        assert head is not None
        return head[:-4].split(b"\r\n")

    def answer(self, method: bytes = b"GET") -> Answer:
        answer = self.client.read_answer(method)
        assert answer is not None
        return answer

    def server_saw(self) -> list[str]:
        """How the case's requests were framed: none, length, chunked, cut or early."""
        return [request.framing for request in self.bench.recorder.received(self.case)]
