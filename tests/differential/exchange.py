"""Raw exchanges: what a client sends, what the servers answer. Builders for the three tables.

Data only; ``conversation`` plays them through a proxy.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.script import Answer, Then


class Read:
    """A step: read the final answer to a request with ``method``, or with ``interim`` the next
    one of any status."""

    def __init__(self, method: bytes = b"GET", *, interim: bool = False) -> None:
        self.method = method
        self.interim = interim


class Drip:
    """A step: send these bytes one by one."""

    def __init__(self, data: bytes) -> None:
        self.data = data


READ = Read()
Step = bytes | Drip | Read


@dataclass(frozen=True, slots=True)
class Exchange:
    """One conversation. In ``steps`` ``%CASE%`` becomes the exchange's unique name.

    ``unfinished``: the last request is not sent whole, so nothing can follow on its connection.
    """

    name: str
    steps: tuple[Step, ...]
    answers: tuple[Answer, ...] = ()
    unfinished: bool = False


def request(
    line: bytes,
    *fields: bytes,
    body: bytes = b"",
    host: bytes = b"Host: matrix.example.org",
    case: bytes = b"X-Case: %CASE%",
) -> bytes:
    """A request with a Host and the case's mark, unless they are given as empty."""
    lines = [line, *([host] if host else []), *([case] if case else []), *fields]
    return b"\r\n".join([*lines, b"", body])


def get(name: str, *fields: bytes, path: bytes = b"/one/x", **more: bytes) -> Exchange:
    """A GET with the given fields."""
    return Exchange(name, (request(b"GET " + path + b" HTTP/1.1", *fields, **more), READ))


def line(name: str, start: bytes, *, method: bytes = b"GET") -> Exchange:
    """A request whose first line is all that matters."""
    return Exchange(name, (request(start), Read(method)))


def post(name: str, *fields: bytes, body: bytes = b"", path: bytes = b"/one/x") -> Exchange:
    """A POST with the given fields and body."""
    return Exchange(name, (request(b"POST " + path + b" HTTP/1.1", *fields, body=body), READ))


def answered(
    name: str,
    *parts: bytes,
    then: Then = Then.KEEP,
    line: bytes = b"GET /one/x HTTP/1.1",
) -> Exchange:
    """A request that gets these bytes as its answer."""
    method = line.split(b" ")[0]
    return Exchange(name, (request(line), Read(method)), (Answer(parts, then),))


LENGTH = b"Content-Length: %d"
CHUNKED = b"Transfer-Encoding: chunked"
JSON = b"Content-Type: application/json"
CHUNKS = b"5\r\nhello\r\n7;ext=1\r\n, world\r\n0\r\n\r\n"
OLD_DATE = b"Mon, 01 Jan 2024 00:00:00 GMT"
OK = b"HTTP/1.1 200 OK\r\n"
BIG = bytes(range(256)) * 8192  # 2 MiB
