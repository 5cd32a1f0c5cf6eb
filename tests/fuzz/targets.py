"""What `make fuzz` throws bytes at, and what must hold whatever they are.

A target takes bytes and raises if something is wrong. Its seeds are the collected hostile messages
and the configurations that we ship.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import h11

from synproxy.config.loader import loads
from synproxy.core.target import check_target, normalise_path, split_target, views
from synproxy.downstream.connection import ClientConnection
from synproxy.errors import ConfigError, DownstreamError, Problem
from synproxy.nginx.importer import import_nginx
from synproxy.nginx.tree import read
from synproxy.wire.chunked import ChunkedDecoder, ChunkedError, encode_chunk
from synproxy.wire.proxy_protocol import ProxyProtocolError, read_header
from tests.fuzz import http2
from tests.hostile.answers import strict_reading
from tests.hostile.corpus import hostile_answers, hostile_requests
from tests.hostile.readers import AmbiguousError, by_llhttp
from tests.protocol.clients import FakeExchange, FakeHandler
from tests.protocol.fakes import ask, connect, make_pool

_ROOT: Final = Path(__file__).resolve().parents[2]
_LONGEST: Final = 4096
"""Bytes of an input: byte by byte, each costs a call."""
_ALIKE: Final = 4
"""Seeds that end in the same way."""


class Target(NamedTuple):
    """``check`` raises if something is wrong with what is made of its bytes."""

    check: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]


# --- requests


def check_request(data: bytes) -> None:
    """Whole and byte by byte the same requests, and the first is what h11 and llhttp read."""
    data = data[:_LONGEST]
    whole = _requests([data])
    pieces = _requests([data[at : at + 1] for at in range(len(data))])
    assert whole == pieces, (whole, pieces)
    requests, _ = whole
    if requests and requests[0].complete:
        _check_reading(data, requests[0])


class _Request(NamedTuple):
    method: bytes
    target: bytes
    absolute: bool
    fields: tuple[bytes, ...]
    chunked: bool
    body: bytes
    complete: bool
    error: str


def _requests(pieces: list[bytes]) -> tuple[list[_Request], list[str]]:
    return asyncio.run(_feed(pieces))


async def _feed(pieces: list[bytes]) -> tuple[list[_Request], list[str]]:
    handler = await _handled(pieces)
    refused = [str(error.status) for error in handler.refused]
    return [_seen(exchange) for exchange in handler.exchanges], refused


async def _handled(pieces: list[bytes]) -> FakeHandler:
    handler = FakeHandler()
    transport = handler.connect()
    protocol = transport.protocol
    assert isinstance(protocol, ClientConnection)
    for piece in pieces:
        transport.receive(piece)
        while protocol.exchange is None and protocol._buffer and not transport.closed:
            before = protocol._buffer
            await asyncio.sleep(0)  # a pipelined request is read in a turn of its own
            if protocol._buffer == before:
                break
    return handler


def _seen(exchange: FakeExchange) -> _Request:
    line, block = exchange.line, exchange.block
    return _Request(
        line.method,
        line.target,
        bool(line.authority),
        tuple(field for _, field in block.forwarded),
        block.chunked,
        exchange.body if exchange.complete else b"",
        exchange.complete,
        "" if exchange.error is None else str(exchange.error.status),
    )


def _check_reading(data: bytes, request: _Request) -> None:
    """A reader that accepts the same bytes reads the same request in them."""
    other = _by_h11(data)
    if other is not None and not request.absolute:
        method, target, body, fields = other
        assert (method, target) == (request.method, request.target), other
        assert body == request.body, (body, request)
        lines = [line.partition(b":")[0].lower() for line in request.fields]
        names = [name for name, _ in fields]
        assert [name for name in lines if name not in names] == [], (lines, names)
    try:
        messages = by_llhttp(data)
    except AmbiguousError:
        return
    if messages and messages[0].body is not None:
        assert messages[0].body == request.body, (messages[0], request)


def _by_h11(data: bytes) -> tuple[bytes, bytes, bytes, list[tuple[bytes, bytes]]] | None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    request: h11.Request | None = None
    body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                return request.method, request.target, body, list(request.headers)
            else:
                return None
    except h11.RemoteProtocolError:
        return None


# --- answers


def check_answer(data: bytes) -> None:
    """Whole and byte by byte the same, and h11 reads the same status and body."""
    data = data[:_LONGEST]
    for head_request in (False, True):
        whole = _answer([data], head_request)
        pieces = _answer([data[at : at + 1] for at in range(len(data))], head_request)
        assert whole == pieces, (whole, pieces)
        status, body, done, failed, _ = whole
        if done and not failed and not head_request and status != 101:
            reading = strict_reading(data)
            assert reading is None or reading == (status, body), (reading, whole)


_Answer = tuple[int, bytes, int, tuple[str, ...], bool]
"""Status, body, how often it ended, failures, whether the connection is kept."""


def _answer(pieces: list[bytes], head_request: bool) -> _Answer:
    pool = make_pool()
    connection, transport = connect(pool)
    sink = ask(connection, head_request=head_request)
    transport.receive(*pieces)
    if not transport.closed:
        transport.end()
    kept = connection._reusable and bool(sink.done)
    status = sink.heads[0].status if sink.heads else 0
    failures = tuple(str(error.failure) for error in sink.errors)
    return status, sink.body, sink.done, failures, kept


# --- chunks


def check_chunked(data: bytes) -> None:
    """Any cut gives the same body, h11 reads it too, and what we write of it means the same."""
    data = data[:_LONGEST]
    whole = _decode([data])
    assert whole == _decode([data[at : at + 1] for at in range(len(data))])
    body, rest, error = whole
    if error or rest is None:
        return
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    other = _by_h11(head + data)
    assert other is None or other[2] == body, (other, body)
    if body:
        again = _decode([encode_chunk(body) + b"0\r\n\r\n"])
        assert again == (body, b"", ""), again


def _decode(pieces: list[bytes]) -> tuple[bytes, bytes | None, str]:
    decoder = ChunkedDecoder()
    payload: list[bytes] = []
    for place, piece in enumerate(pieces):
        try:
            rest = decoder.feed(piece, payload)
        except ChunkedError as error:
            return b"", None, "refused" if str(error) else "?"
        if rest is not None:
            return b"".join(payload), rest + b"".join(pieces[place + 1 :]), ""
    return b"".join(payload), None, ""


# --- targets


_DOTS: Final = re.compile(rb"/\.{1,2}(?:/|\Z)")


def check_path(data: bytes) -> None:
    """A normalised path has one meaning, and normalising what it is does not move it further."""
    target = b"/" + data
    try:
        check_target(target)
        raw, _ = split_target(target)
        path = normalise_path(raw)
        others = views(raw)
    except DownstreamError:
        return
    assert path.startswith(b"/")
    assert b"//" not in path
    assert _DOTS.search(path) is None, path
    assert b"\0" not in path
    assert others[0] == path
    assert raw in others or raw == path
    escaped = b"".join(b"%%%02X" % byte if byte != 47 else b"/" for byte in path)
    assert normalise_path(escaped) == path


# --- the PROXY protocol


def check_proxy_protocol(data: bytes) -> None:
    """However it is cut, a header is found at the same place, or refused."""
    final = _header(data)
    for end in range(len(data)):
        early = _header(data[:end])
        if early is not None:
            assert early == final, (end, early, final)
            return


def _header(data: bytes) -> object:
    try:
        header = read_header(data)
    except ProxyProtocolError:
        return "refused"
    if header is not None:
        assert 0 < header.size <= len(data)
    return header


# --- files


def check_config(data: bytes) -> None:
    """A configuration, or every mistake with its place."""
    text = data.decode("utf-8", "replace")
    problems: tuple[Problem, ...] | None = None
    try:
        loads(text, "fuzz.yaml")
    except ConfigError as error:
        problems = error.problems
    if problems is not None:
        assert problems
        for problem in problems:
            assert problem.line >= 1, problem
            assert problem.column >= 1, problem


@cache
def _scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz")) / "nginx.conf"


def check_nginx(data: bytes) -> None:
    """A converted configuration that loads, or a mistake with its place."""
    if b"include" in data:
        return  # files of this machine
    path = _scratch()
    path.write_bytes(data)
    try:
        result = import_nginx(read(path))
    except ConfigError:
        return
    if not result.findings:
        loads(result.text, "imported.yaml")


def _files(*patterns: str) -> list[bytes]:
    return [path.read_bytes() for pattern in patterns for path in sorted(_ROOT.glob(pattern))]


@cache
def _heads() -> list[bytes]:
    """The shortest few of those that end alike: two thousand of which most are refused for the same
    reason would keep a fuzzer from going further."""
    kinds: dict[tuple[str, ...], list[bytes]] = {}
    for case in sorted(hostile_requests(), key=lambda case: len(case.raw)):
        handler = asyncio.run(_handled([case.raw[:_LONGEST]]))
        refusals = [f"{error.status} {error}" for error in handler.refused]
        ends = [f"{one.complete} {one.error}" for one in handler.exchanges]
        kinds.setdefault((*ends, *refusals), []).append(case.raw)
    return [raw for alike in kinds.values() for raw in alike[:_ALIKE]]


def _bodies() -> list[bytes]:
    """What follows the heads that announce chunks."""
    found = [
        case.raw.partition(b"\r\n\r\n")[2]
        for case in hostile_requests()
        if b"chunked" in case.raw.lower()
    ]
    return sorted(set(found))


def _paths() -> list[bytes]:
    lines = (case.raw.split(b"\r\n")[0].split(b" ") for case in hostile_requests())
    return sorted({words[1][1:] for words in lines if len(words) > 1})


_NGINX: Final = b"""events { }
http {
    map $arg_since $pool { default normal; "" initial; }
    upstream normal { server 127.0.0.1:1 max_fails=0; keepalive 3; }
    upstream initial { hash $remote_addr consistent; server unix:/run/a.sock backup; }
    server {
        listen 8008 ssl; server_name example.org; client_max_body_size 50m;
        location ~ ^/_matrix/(r0|v3)/sync$ { proxy_pass http://$pool; proxy_read_timeout 1h; }
        location = /a { return 200 'x'; add_header A "b c" always; }
        location / { proxy_pass http://normal; allow 1.2.3.0/8; deny all; }
    }
}
"""
_PROXY: Final = (
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET /",
    b"PROXY TCP6 ::1 ::2 1 2\r\n",
    b"PROXY UNKNOWN x\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\1\2\3\4\5\6\7\x08\0\1\0\2GET",
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x2b" + bytes(36) + b"\4\0\1x\3\0\0",
)

TARGETS: Final[dict[str, Target]] = {
    "request": Target(check_request, _heads),
    "answer": Target(check_answer, lambda: [case.raw for case in hostile_answers()]),
    "chunked": Target(check_chunked, _bodies),
    "path": Target(check_path, _paths),
    "proxy_protocol": Target(check_proxy_protocol, lambda: _PROXY),
    "http2_frames": Target(http2.check_frames, http2.frames),
    "hpack": Target(http2.check_hpack, http2.hpack_blocks),
    "http2": Target(http2.check_connection, http2.frames),
    "config": Target(check_config, lambda: _files("config/*.yaml")),
    "nginx": Target(check_nginx, lambda: [_NGINX, *_files("tests/**/*.conf")]),
}
