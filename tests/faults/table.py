"""The matrix: each fault, and what becomes of each kind of request that meets it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

from tests.faults import scenes
from tests.faults.peers import (
    BusyServer,
    ForbiddenServer,
    MissingServer,
    RefusingServer,
    TcpServer,
    unprivileged,
    without_descriptors,
)
from tests.faults.requests import (
    GET,
    GET_1_0,
    KINDS,
    POST,
    POST_BODY,
    PUT,
    PUT_BODY,
    PUT_HUGE,
    PUT_LARGE,
    UPLOAD,
    Kind,
)
from tests.faults.scenes import Stage
from tests.integration.harness import ScriptedServer

Step = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Result:
    """``client``: all bytes that it gets, with the date masked; ``end``: ``open`` (and good for
    another request), ``closed``, or ``reset``. ``asked``: the servers, in order, and what each
    answered. ``reason``: the log's."""

    verdict: str
    client: bytes
    end: str
    status: int
    asked: tuple[tuple[str, int], ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Fault:
    """``word``: how the error log begins its line, nothing if there is none."""

    name: str
    server: type[ScriptedServer]
    scene: Step
    word: str
    results: Mapping[Kind, Result]
    before: Step = scenes.nothing
    next_server: type[ScriptedServer] = ScriptedServer
    around: Callable[[], AbstractContextManager[None]] = nullcontext
    """What holds from the request to its end."""


def _answered(body: bytes, *fields: bytes, status: bytes = b"200 OK") -> bytes:
    start = (b"HTTP/1.1 " + status, b"Server: synproxy", b"Date: -")
    lines = (*start, b"Content-Length: %d" % len(body), *fields)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _error(status: bytes, body: bytes, fields: bytes = b"") -> bytes:
    return (
        b"HTTP/1.1 %b\r\nServer: synproxy\r\nDate: -\r\n"
        b"Access-Control-Allow-Origin: *\r\n"
        b"Access-Control-Allow-Methods: GET, HEAD, POST, PUT, DELETE, OPTIONS\r\n"
        b"Access-Control-Allow-Headers: X-Requested-With, Content-Type, Authorization, Date\r\n"
        b"Access-Control-Expose-Headers: Synapse-Trace-Id, Server\r\n"
        b"%bContent-Type: application/json\r\n"
        b"Cache-Control: no-cache, no-store, must-revalidate\r\n"
        b"Content-Length: %d\r\n\r\n%b"
    ) % (status, fields, len(body), body)


FAULTY: Final = "faulty"
OTHER: Final = "next"

_BAD_GATEWAY: Final = _error(
    b"502 Bad Gateway", b'{"errcode": "M_UNKNOWN", "error": "Bad gateway"}'
)
_TIMEOUT: Final = _error(
    b"504 Gateway Timeout", b'{"errcode": "M_UNKNOWN", "error": "Gateway timeout"}'
)
_NEXT: Final = Result(
    "next server", _answered(b"next"), "open", 200, ((FAULTY, 0), (OTHER, 200)), "ok"
)
_E502: Final = Result("502", _BAD_GATEWAY, "open", 502, ((FAULTY, 0),), "upstream_error")
_E504: Final = Result("504", _TIMEOUT, "open", 504, ((FAULTY, 0),), "upstream_timeout")
_E504_UNREAD: Final = Result(
    "504",
    _TIMEOUT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    "closed",
    504,
    ((FAULTY, 0),),
    "upstream_timeout",
)
"""Of an upload that the client has not finished."""
_EXHAUSTED: Final = Result(
    "503, come again",
    _error(
        b"503 Service Unavailable",
        b'{"errcode": "M_UNKNOWN", "error": "Service unavailable", "retry_after_ms": 5000}',
        b"Retry-After: 5\r\n",
    ),
    "open",
    503,
    ((FAULTY, 0),),
    "overload",
)
_ALL_DOWN: Final = Result(
    "502, both were asked", _BAD_GATEWAY, "open", 502, ((FAULTY, 0), (OTHER, 0)), "upstream_error"
)
_AGAIN: Final = Result(
    "same server, new connection", _answered(b"again"), "open", 200, ((FAULTY, 200),), "ok"
)
_SENT_AGAIN: Final = Result(
    "same server, sent again", _answered(b"again"), "open", 200, ((FAULTY, 0), (FAULTY, 200)), "ok"
)
_SERVED: Final = Result("served", _answered(b"again"), "open", 200, ((FAULTY, 200),), "ok")
_SLOW: Final = Result("served", _answered(b"slowly"), "open", 200, ((FAULTY, 200),), "ok")
_EARLY: Final = Result(
    "its answer",
    _answered(b"too large", b"Connection: close", status=b"413 Content Too Large"),
    "closed",
    413,
    ((FAULTY, 413),),
    "ok",
)


def _cut(head: bytes, body: bytes, reason: str = "upstream_error", end: str = "closed") -> Result:
    client = b"HTTP/1.1 200 OK\r\nServer: synproxy\r\nDate: -\r\n%b\r\n\r\n%b" % (head, body)
    return Result("cut", client, end, 200, ((FAULTY, 200),), reason)


_CUT_LENGTH: Final = _cut(b"Content-Length: 10", b"half")
_CUT_CHUNKED: Final = _cut(b"Transfer-Encoding: chunked", scenes.HALF_CHUNKED)
_CUT_1_0: Final = _cut(b"Connection: close", b"half", end="reset")
_CUT_EMPTY: Final = _cut(b"Transfer-Encoding: chunked", b"")
_CUT_EMPTY_1_0: Final = _cut(b"Connection: close", b"", end="reset")
_STALLED: Final = _cut(b"Content-Length: 10", b"half", "upstream_timeout")


def _all(result: Result) -> dict[Kind, Result]:
    return dict.fromkeys(KINDS, result)


def _if_idempotent(yes: Result, no: Result) -> dict[Kind, Result]:
    """A POST is never sent twice, nor is what is no longer at hand."""
    return {GET: yes, POST: no, POST_BODY: no, PUT: yes, PUT_BODY: yes, PUT_LARGE: no}


FAULTS: Final = (
    Fault(
        "refuses: a socket without a process",
        RefusingServer,
        scenes.nothing,
        "refused",
        _all(_NEXT),
    ),
    Fault("there is no socket", MissingServer, scenes.nothing, "refused", _all(_NEXT)),
    Fault(
        "permission denied",
        ForbiddenServer,
        scenes.nothing,
        "connect",
        _all(_NEXT),
        around=unprivileged,
    ),
    Fault(
        "accepts no connection", BusyServer, scenes.accepts_nothing, "connect_timeout", _all(_NEXT)
    ),
    Fault(
        "is well, but no descriptor is left here",
        ScriptedServer,
        scenes.nothing,
        "exhausted",
        dict.fromkeys((GET, POST, POST_BODY, PUT, PUT_BODY), _EXHAUSTED),
        around=without_descriptors,
    ),
    Fault(
        "all servers are down",
        RefusingServer,
        scenes.nothing,
        "refused",
        dict.fromkeys((GET, POST, POST_BODY, PUT, PUT_BODY), _ALL_DOWN),
        next_server=MissingServer,
    ),
    Fault(
        "accepts and hangs up",
        ScriptedServer,
        scenes.hangs_up,
        "closed",
        _if_idempotent(_NEXT, _E502),
    ),
    Fault(
        "accepts and is silent",
        ScriptedServer,
        scenes.is_silent,
        "read_timeout",
        _if_idempotent(_NEXT, _E504),
    ),
    Fault(
        "accepts and does not read",
        ScriptedServer,
        scenes.reads_nothing,
        "send_timeout",
        {PUT_HUGE: _E504_UNREAD},
    ),
    Fault(
        "dies without an answer",
        ScriptedServer,
        scenes.dies_without_an_answer,
        "closed",
        _if_idempotent(_NEXT, _E502),
    ),
    Fault(
        "resets without an answer (TCP)",
        TcpServer,
        scenes.resets,
        "closed",
        _if_idempotent(_NEXT, _E502),
    ),
    Fault(
        "dies in the head",
        ScriptedServer,
        scenes.dies_in_the_head,
        "truncated",
        _if_idempotent(_NEXT, _E502),
    ),
    Fault(
        "answers with something else than HTTP",
        ScriptedServer,
        scenes.speaks_something_else,
        "invalid_header",
        _all(_E502),
    ),
    Fault(
        "dies in a body with a length",
        ScriptedServer,
        scenes.dies_in_a_body_with_a_length,
        "",
        _all(_CUT_LENGTH),
    ),
    Fault(
        "dies in a chunked body",
        ScriptedServer,
        scenes.dies_in_a_chunked_body,
        "",
        {**_all(_CUT_CHUNKED), GET_1_0: _CUT_1_0},
    ),
    Fault(
        "dies behind the head of a chunked body",
        ScriptedServer,
        scenes.dies_behind_the_head,
        "",
        {GET: _CUT_EMPTY, GET_1_0: _CUT_EMPTY_1_0},
    ),
    Fault(
        "resets in a body that the end of the connection ends (TCP)",
        TcpServer,
        scenes.resets_in_a_body_without_an_end,
        "",
        {**_all(_CUT_CHUNKED), GET_1_0: _CUT_1_0},
    ),
    Fault("stalls in the body", ScriptedServer, scenes.stalls_in_the_body, "", _all(_STALLED)),
    Fault("answers byte by byte", ScriptedServer, scenes.answers_byte_by_byte, "", _all(_SLOW)),
    Fault(
        "answers during an upload and closes",
        ScriptedServer,
        scenes.answers_early_and_closes,
        "",
        {UPLOAD: _EARLY},
    ),
    Fault(
        "the same, while the client sends on",
        ScriptedServer,
        scenes.answers_early_and_closes_while_more_comes,
        "",
        {UPLOAD: _EARLY},
    ),
    Fault(
        "died between two requests",
        ScriptedServer,
        scenes.serves_again,
        "",
        _all(_AGAIN),
        before=scenes.idle_and_dead,
    ),
    Fault(
        "dies as the next request comes",
        ScriptedServer,
        scenes.dies_as_the_request_comes,
        "stale",
        _if_idempotent(_SENT_AGAIN, _E502),
        before=scenes.idle,
    ),
    Fault(
        "sends something between two requests",
        ScriptedServer,
        scenes.serves_again,
        "",
        _all(_AGAIN),
        before=scenes.idle_and_unasked,
    ),
    Fault(
        "its socket is replaced, it lives on",
        ScriptedServer,
        scenes.old_process_serves_on,
        "",
        _all(_SERVED),
        before=scenes.idle_and_replaced,
    ),
    Fault(
        "its socket is replaced, it has died",
        ScriptedServer,
        scenes.serves_again,
        "",
        _all(_AGAIN),
        before=scenes.replaced_and_dead,
    ),
)
