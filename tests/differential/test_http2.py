"""Conversations of HTTP/2, through nginx and through synproxy: the same, or listed."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hpack import Decoder

from tests.differential.differences import listed_for
from tests.support.echo import serving
from tests.support.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    Fields,
    block,
    frame,
    get,
    number,
    settings,
)
from tests.support.nginx import Nginx
from tests.support.process import ProxyProcess
from tests.support.synproxy import Synproxy

NGINX = """\
daemon off; master_process off; pid @RUN@/nginx.pid; error_log @RUN@/error.log;
events { worker_connections 512; }
http {
    access_log off; server_tokens off;
    client_body_temp_path @RUN@/body; proxy_temp_path @RUN@/proxy; fastcgi_temp_path @RUN@/f;
    uwsgi_temp_path @RUN@/u; scgi_temp_path @RUN@/s;
    http2_max_concurrent_streams 5; client_max_body_size 1000;
    large_client_header_buffers 4 8k;
    server {
        listen 127.0.0.1:@PORT@ http2;
        location / {
            proxy_pass http://unix:@SERVER@:; proxy_http_version 1.1; proxy_set_header Host $host;
            proxy_set_header Connection ""; proxy_request_buffering off; proxy_buffering off;
            proxy_set_header X-Forwarded-For $remote_addr;
        }
    }
}
"""
SYNPROXY = """\
listeners: [{listen: "127.0.0.1:@PORT@", http2: on}]
http: {http2_max_concurrent_streams: 5, client_max_body_size: 1000, server_tokens: off}
proxy: {set_header: {Host: $host, X-Forwarded-For: $remote_addr}}
access_log: off
pools:
  all: {servers: ["unix:@SERVER@"]}
routes:
  - {name: all, location: /, pool: all}
"""


@dataclass
class Outcome:
    """What a client has seen, without what every two answers differ in."""

    answers: dict[int, tuple[int, dict[str, str], Any]]
    """By stream: the status, the fields, and the body."""
    resets: dict[int, int]
    gone: int | None
    others: list[tuple[int, bytes]]
    """Pings that were answered."""


class Client:
    """A connection to a proxy that reads frames by hand, so that it takes whatever comes."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._decoder = Decoder()
        self._buffer = b""
        self.heads: dict[int, list[dict[str, str]]] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.gone: int | None = None
        self.pings: list[tuple[int, bytes]] = []

    def until_answered(self, *streams: int) -> None:
        """Read until all of them are over, or the connection is; that alone, if there are none."""
        with suppress(ConnectionError, EOFError):
            while not streams or not all(
                one in self.ended or one in self.resets for one in streams
            ):
                self._read()

    def until_quiet(self) -> None:
        """Read until a ping is answered, and with it everything before it."""
        mark = b"the end!"
        with suppress(ConnectionError, EOFError):
            self.sock.sendall(frame(PING, 0, 0, mark))
            while (ACK, mark) not in self.pings:
                self._read()
        self.pings = [one for one in self.pings if one[1] != mark]

    def _read(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self._buffer += data
        while len(self._buffer) >= 9:
            end = 9 + int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < end:
                return
            whole, self._buffer = self._buffer[:end], self._buffer[end:]
            self._take(whole[3], whole[4], int.from_bytes(whole[5:9], "big"), whole[9:])

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == HEADERS:
            fields = {str(name): str(value) for name, value in self._decoder.decode(payload)}
            self.heads.setdefault(stream, []).append(fields)
        elif kind == DATA:
            self.bodies[stream] = self.bodies.get(stream, b"") + payload
        elif kind == RST_STREAM:
            self.resets[stream] = int.from_bytes(payload, "big")
        elif kind == GOAWAY and self.gone is None:
            self.gone = int.from_bytes(payload[4:8], "big")
        elif kind == PING:
            self.pings.append((flags, payload))
        elif kind == SETTINGS and not flags & ACK:
            self.sock.sendall(settings(flags=ACK))
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            self.ended.add(stream)

    def outcome(self) -> Outcome:
        answers = {}
        for stream, heads in self.heads.items():
            fields = dict(heads[-1])
            status = int(fields.pop(":status"))
            for name in ("date", "server"):
                fields.pop(name, None)
            body: Any = self.bodies.get(stream, b"")
            if status == 200 and body:
                body = json.loads(body)
                body["fields"] = sorted((name.lower(), value) for name, value in body["fields"])
                fields.pop("content-length", None)
            elif status >= 400:  # Matrix JSON instead of a page is row error-body
                body, fields = b"", {}
            answers[stream] = (status, fields, body)
        return Outcome(answers, self.resets, self.gone, self.pings)


def ask(fields: Fields, stream: int = 1, *, end: bool = True) -> bytes:
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block(fields))


def body(data: bytes, stream: int = 1, *, end: bool = True) -> bytes:
    return frame(DATA, END_STREAM if end else 0, stream, data)


POST = get(b"/post", method=b"POST")
FIELDS = get()

CONVERSATIONS: dict[str, bytes] = {
    "GET": ask(FIELDS),
    "GET with a raw path": ask(get(b"/a%2Fb//c/../d%20e?f=%20g&h")),
    "HEAD": ask(get(method=b"HEAD")),
    "OPTIONS": ask(get(method=b"OPTIONS")),
    "GET with fields": ask(get(b"/", (b"x-a", b"1"), (b"x-a", b"2"), (b"accept", b"*/*"))),
    "crumbs of a cookie": ask(get(b"/", (b"cookie", b"a=b"), (b"cookie", b"c=d"))),
    "an underscore": ask(get(b"/", (b"x_a", b"1"))),
    "TE: trailers": ask(get(b"/", (b"te", b"trailers"))),
    "X-Forwarded-For of the client": ask(get(b"/", (b"x-forwarded-for", b"6.6.6.6"))),
    "an authority with a port": ask([*FIELDS[:2], (b":authority", b"A.example:80"), FIELDS[3]]),
    "Host instead of :authority": ask([*FIELDS[:2], FIELDS[3], (b"host", b"b.example")]),
    "POST with a length": ask([*POST, (b"content-length", b"5")], end=False) + body(b"hello"),
    "POST in three frames": ask([*POST, (b"content-length", b"9")], end=False)
    + body(b"one", end=False)
    + body(b"two", end=False)
    + body(b"six"),
    "POST without a length": ask(POST, end=False) + body(b"hello"),
    "POST of nothing": ask(POST),
    "POST of nothing, with a length": ask([*POST, (b"content-length", b"0")]),
    "trailers": ask(POST, end=False)
    + body(b"hello", end=False)
    + frame(HEADERS, END_HEADERS | END_STREAM, 1, block([(b"x-sum", b"1")])),
    "too large, and says so": ask([*POST, (b"content-length", b"1001")], end=False),
    "no server takes this path": ask(get(b"/../..")),
    "an escape that is none": ask(get(b"/%zz")),
    "CONNECT": ask([(b":method", b"CONNECT"), (b":authority", b"a.example:443")]),
    "without :path": ask([*FIELDS[:3]]),
    "without :scheme": ask([FIELDS[0], *FIELDS[2:]]),
    "an unknown pseudo-header field": ask([*FIELDS, (b":x", b"1")]),
    "a pseudo-header field too late": ask([*FIELDS[:3], (b"x", b"1"), FIELDS[3]]),
    ":path twice": ask([*FIELDS, FIELDS[3]]),
    "a name in capitals": ask([*FIELDS, (b"X-A", b"1")]),
    "Connection": ask([*FIELDS, (b"connection", b"close")]),
    "Transfer-Encoding": ask([*POST, (b"transfer-encoding", b"chunked")], end=False)
    + body(b"5\r\nhello\r\n0\r\n\r\n"),
    "Host and :authority differ": ask([*FIELDS, (b"host", b"b.example")]),
    "a value with LF": ask([*FIELDS, (b"x", b"1\ny: 2")]),
    "less than the length": ask([*POST, (b"content-length", b"5")], end=False) + body(b"hell"),
    "more than the length": ask([*POST, (b"content-length", b"5")], end=False) + body(b"hello!"),
    "Expect: 100-continue": ask(
        [*POST, (b"content-length", b"5"), (b"expect", b"100-continue")], end=False
    )
    + body(b"hello"),
    "a block in two frames": frame(HEADERS, END_STREAM, 1, block(FIELDS)[:4])
    + frame(CONTINUATION, END_HEADERS, 1, block(FIELDS)[4:]),
    "three at once": ask(FIELDS, 1) + ask(FIELDS, 3) + ask(FIELDS, 5),
    "a ping": frame(PING, 0, 0, b"12345678") + ask(FIELDS),
    "an unknown frame": frame(0x42, 0, 0, b"x") + ask(FIELDS),
    "a priority": frame(PRIORITY, 0, 3, number(0) + b"\x10") + ask(FIELDS),
    "an even stream": ask(FIELDS, 2),
    "DATA of an idle stream": body(b"x") + ask(FIELDS, 3),
    "a push": frame(5, END_HEADERS, 1, number(2) + block(FIELDS)),
    "not HPACK": frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\xff\xff\xff\xff\xff"),
    "a window of 0": frame(8, 0, 0, number(0)),
    "SETTINGS of a wrong size": frame(SETTINGS, 0, 0, bytes(3)),
}


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ProxyProcess, Synproxy]]:
    directory = tmp_path_factory.mktemp("http2")
    server = directory / "server.sock"
    of_nginx, ours = directory / "nginx", directory / "synproxy"
    of_nginx.mkdir()
    ours.mkdir()
    with (
        serving(server),
        Nginx(of_nginx, {"nginx.conf": NGINX}, {"SERVER": str(server)}) as nginx,
        Synproxy(ours, SYNPROXY, {"@SERVER@": str(server)}) as synproxy,
    ):
        yield nginx, synproxy


def play(port: int, frames: bytes) -> Outcome:
    client = Client(port)
    with client.sock:
        streams = {
            int.from_bytes(frames[at + 5 : at + 9], "big")
            for at in _starts(frames)
            if frames[at + 3] == HEADERS
        }
        client.sock.sendall(PREFACE + settings() + frames)
        client.until_answered(*streams)
        if client.gone is None:
            client.until_quiet()
        return client.outcome()


def _starts(frames: bytes) -> Iterator[int]:
    at = 0
    while at < len(frames):
        yield at
        at += 9 + int.from_bytes(frames[at : at + 3], "big")


@dataclass(frozen=True)
class Difference:
    """A row of docs/nginx-differences.md."""

    id: str
    names: tuple[str, ...]
    change: Callable[[Outcome, Outcome], Outcome]
    """What synproxy does, from what nginx does, and nginx to the plain GET or POST."""


def _malformed(seen: Outcome, plain: Outcome) -> Outcome:
    """An answer, and then the reset of RFC 9113 section 8.1.1."""
    return Outcome({1: (400, {}, b"")}, {1: 1}, None, [])


def _not_allowed(seen: Outcome, plain: Outcome) -> Outcome:
    return Outcome({1: (405, {}, b"")}, {}, None, [])


def _ended(seen: Outcome, plain: Outcome) -> Outcome:
    return Outcome({}, {}, 1, [])


def _as_plain(seen: Outcome, plain: Outcome) -> Outcome:
    return plain


DIFFERENCES = (
    Difference(
        "http2-malformed",
        (
            *("without :path", "without :scheme", "an unknown pseudo-header field"),
            *(":path twice", "Host and :authority differ", "a name in capitals"),
            *("a value with LF", "less than the length", "more than the length"),
        ),
        _malformed,
    ),
    Difference("http2-late-pseudo-header", ("a pseudo-header field too late",), _malformed),
    Difference("http2-connection-fields", ("Connection", "Transfer-Encoding"), _malformed),
    Difference("http2-trailers", ("trailers",), _as_plain),
    Difference("http2-idle-stream", ("DATA of an idle stream",), _ended),
    Difference("connect-status", ("CONNECT",), _not_allowed),
)
_LISTED = {name: one for one in DIFFERENCES for name in one.names}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_conversation_goes_as_with_nginx(
    proxies: tuple[ProxyProcess, Synproxy], name: str
) -> None:
    nginx, synproxy = proxies
    expected = seen = play(nginx.port, CONVERSATIONS[name])
    listed = _LISTED.get(name)
    if listed is not None:
        expected = listed.change(seen, play(nginx.port, CONVERSATIONS["POST without a length"]))
        assert expected != seen
    assert play(synproxy.port, CONVERSATIONS[name]) == expected


def test_the_rows_are_the_differences_that_are_asserted() -> None:
    assert {one.id for one in DIFFERENCES} == listed_for(__file__)


def test_every_listed_conversation_exists() -> None:
    assert _LISTED.keys() <= CONVERSATIONS.keys()


def test_one_stream_too_many_is_refused_as_by_nginx(
    proxies: tuple[ProxyProcess, Synproxy],
) -> None:
    """Five are allowed, and none of them ends."""
    refused = []
    for proxy in proxies:
        client = Client(proxy.port)
        with client.sock:
            streams = range(1, 13, 2)
            started = b"".join(ask(POST, stream, end=False) for stream in streams)
            client.sock.sendall(PREFACE + settings() + started)
            client.until_answered(11)
            refused.append(client.resets)
    assert refused == [{11: 7}] * 2  # REFUSED_STREAM
