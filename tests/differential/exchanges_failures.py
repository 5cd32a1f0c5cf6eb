"""How servers fail, and what is kept of their connections."""

from __future__ import annotations

from tests.differential.exchange import (
    BIG,
    CHUNKED,
    LENGTH,
    OK,
    READ,
    Exchange,
    Read,
    request,
)
from tests.support.script import Answer, Then


def fails(
    name: str,
    path: bytes,
    *answers: Answer,
    method: bytes = b"GET",
    body: bytes = b"",
) -> Exchange:
    """A request to servers of which the first fails."""
    fields = [LENGTH % len(body)] if body else []
    start = method + b" " + path + b" HTTP/1.1"
    name = f"{name}, {method.decode()} with {len(body)} bytes"
    return Exchange(name, (request(start, *fields, body=body), Read(method)), answers)


RESET = Answer((), Then.RESET)
CLOSED = Answer((), Then.CLOSE)
SILENT = Answer((), Then.HANG)
FINE = Answer((OK + b"Content-Length: 2\r\n\r\n{}",))
ERROR = Answer((b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}",))
CUT_HEAD = Answer((b"HTTP/1.1 200 OK\r\nConte",), Then.CLOSE)
NO_HTTP = Answer((b"\0\1\2\r\n\r\n",), Then.CLOSE)
CUT_BODY = Answer((OK + b"Content-Length: 9\r\n\r\nhello",), Then.CLOSE)
EARLY = Answer((b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}",), Then.KEEP, early=True)

FAILURES: tuple[Exchange, ...] = (
    *(
        fails(kind, b"/%s/x" % kind.encode(), method=method, body=body)
        for kind in ("refused", "missing", "dead")
        for method, body in ((b"GET", b""), (b"POST", b"hello"), (b"PUT", b"hello"), (b"HEAD", b""))
    ),
    *(
        fails(name, b"/both/x", first, FINE, method=method, body=body)
        for name, first in (
            ("reset", RESET),
            ("closed", CLOSED),
            ("cut in the head", CUT_HEAD),
            ("not HTTP", NO_HTTP),
            ("cut in the body", CUT_BODY),
            ("503", ERROR),
        )
        for method, body in (
            (b"GET", b""),
            (b"POST", b"hello"),
            (b"POST", b""),
            (b"PUT", b"hello"),
            (b"DELETE", b""),
            (b"PATCH", b"hello"),
            (b"LOCK", b"hello"),
            (b"OPTIONS", b""),
            (b"BREW", b"hello"),
        )
    ),
    *(
        fails(f"both {name}", b"/both/x", first, method=method)
        for name, first in (("reset", RESET), ("closed", CLOSED), ("not HTTP", NO_HTTP))
        for method in (b"GET", b"POST")
    ),
    fails("reset", b"/both/x", RESET, FINE, method=b"PUT", body=BIG),
    fails("reset", b"/both/x", RESET, FINE, method=b"PUT", body=b"x" * 60_000),
    fails("refused", b"/refused/x", method=b"POST", body=BIG),
    fails("silent", b"/slow/x", SILENT, FINE),
    fails("silent", b"/slow/x", SILENT, FINE, method=b"POST", body=b"hello"),
    fails("both silent", b"/slow/x", SILENT),
    fails("silent in the head", b"/slow/x", Answer((b"HTTP/1.1 200 OK\r\nX",), Then.HANG), FINE),
    fails(
        "silent in the body", b"/slow/x", Answer((OK + LENGTH % 9 + b"\r\n\r\nhello",), Then.HANG)
    ),
    fails(
        "silent in the middle of a chunked body",
        b"/slow/x",
        Answer((OK + CHUNKED + b"\r\n\r\n5\r\nhello\r\n",), Then.HANG),
    ),
    fails("early answer to a small body", b"/one/x", EARLY, method=b"POST", body=b"hello"),
    Exchange(
        "a kept server connection is used again",
        (request(b"GET /kept/1 HTTP/1.1"), READ, request(b"GET /kept/2 HTTP/1.1"), READ),
    ),
    Exchange(
        "the server said close",
        (request(b"GET /kept/1 HTTP/1.1"), READ, request(b"GET /kept/2 HTTP/1.1"), READ),
        (Answer((OK + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}",)), FINE),
    ),
    Exchange(
        "too many bytes end a kept connection",
        (request(b"GET /kept/1 HTTP/1.1"), READ, request(b"GET /kept/2 HTTP/1.1"), READ),
        (Answer((OK + b"Content-Length: 2\r\n\r\n{}xx",)), FINE),
    ),
    Exchange(
        "a stale kept connection, GET",
        (request(b"GET /kept/1 HTTP/1.1"), READ, request(b"GET /kept/2 HTTP/1.1"), READ),
        (FINE, RESET, FINE),
    ),
    Exchange(
        "a stale kept connection, POST",
        (
            request(b"GET /kept/1 HTTP/1.1"),
            READ,
            request(b"POST /kept/2 HTTP/1.1", LENGTH % 5, body=b"hello"),
            READ,
        ),
        (FINE, RESET, FINE),
    ),
    Exchange(
        "HTTP/1.0 answers are not kept",
        (request(b"GET /kept/1 HTTP/1.1"), READ, request(b"GET /kept/2 HTTP/1.1"), READ),
        (Answer((b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",)), FINE),
    ),
)
