"""Plays an exchange through a proxy and writes down what its client and its servers saw."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from tests.differential.exchange import Drip, Exchange, Read
from tests.support.client import Answer, BadAnswerError, Client
from tests.support.recorder import Recorder
from tests.support.script import dechunk

PROBE = b"GET /one/probe HTTP/1.1\r\nHost: probe\r\nX-Case: probe\r\n\r\n"
LOCAL = b"(the proxy's own page)"
PATIENCE = 3.0  # seconds that a proxy may keep a client waiting before this counts as silence


@dataclass(frozen=True, slots=True)
class ClientSaw:
    """One answer. ``content`` is the body without chunks and gzip; ``fields`` are sorted."""

    status: int
    version: bytes
    reason: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    content: bytes
    framing: str
    complete: bool


@dataclass(frozen=True, slots=True)
class ServerSaw:
    """One request. Connections count from 0 within the exchange."""

    server: str
    connection: int
    head: bytes
    body: bytes
    framing: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A whole exchange. ``end`` is what became of the client's connection: kept, closed (as
    announced), dropped (not announced), cut (in an answer), announced (the close, to a request
    that is not whole), or why it is neither."""

    answers: tuple[ClientSaw, ...]
    end: str
    requests: tuple[ServerSaw, ...]


def play(port: int | Path, recorder: Recorder, exchange: Exchange, case: bytes) -> Seen:
    """One exchange on a connection of its own; ``case`` must be new to the recorder."""
    recorder.take()
    if exchange.answers:
        recorder.script(case, exchange.answers)
    answers: list[Answer] = []
    with Client(port, timeout=PATIENCE) as client:
        try:
            end = _converse(client, exchange, case, answers)
        except BadAnswerError as error:
            end = f"malformed: {error}"
        except TimeoutError:
            end = "silence"
        try:
            seen = tuple(_client_saw(answer) for answer in answers)
        except BadAnswerError as error:
            seen, end = (), f"malformed: {error}"
    return Seen(seen, end, _servers_saw(recorder))


def _converse(client: Client, exchange: Exchange, case: bytes, answers: list[Answer]) -> str:
    for step in exchange.steps:
        if isinstance(step, Read):
            final = False
            while not final:
                answer = client.read_answer(step.method)
                if answer is None:
                    return "dropped"
                answers.append(answer)
                if not answer.complete:
                    return "cut"
                final = step.interim or answer.status >= 200 or answer.status == 101
        elif isinstance(step, Drip):
            for byte in step.data.replace(b"%CASE%", case):
                client.send(bytes([byte]))
        else:
            client.send(step.replace(b"%CASE%", case))
    if exchange.unfinished:
        return "announced" if answers[-1].closes else "waits for the rest"
    if answers[-1].closes or answers[-1].framing == "close":
        rest = client.read_to_end()
        return f"more: {rest[:200]!r}" if rest else "closed"
    client.send(PROBE)
    answer = client.read_answer()
    if answer is None:
        return "dropped"
    return "kept" if answer.status == 200 else f"next: {answer.status}"


def _client_saw(answer: Answer) -> ClientSaw:
    fields = sorted(
        (name.lower(), _stable(name.lower(), value, answer)) for name, value in answer.fields
    )
    seen = ClientSaw(
        answer.status,
        answer.version,
        answer.reason,
        tuple(fields),
        _content(answer),
        answer.framing,
        answer.complete,
    )
    return as_local(seen) if is_local(answer) else seen


def _stable(name: bytes, value: bytes, answer: Answer) -> bytes:
    """A field's value without what time and the choice of a compressor make of it."""
    if name == b"date" and _is_now(value):
        return b"(now)"
    if name == b"content-length" and answer.field(b"content-encoding") == b"gzip":
        return b"(gzip)"
    return value


def _is_now(date: bytes) -> bool:
    given = parsedate_to_datetime(date.decode("latin-1"))
    return abs((datetime.now(UTC) - given).total_seconds()) < 60


def _content(answer: Answer) -> bytes:
    if answer.complete:
        return answer.content
    return b"(cut)" if answer.field(b"content-encoding") else answer.body


def is_local(answer: Answer) -> bool:
    """Whether the answer is one of the proxy's own pages: nginx's HTML or a Matrix error."""
    if answer.status < 400 or answer.status == 599:
        return False
    if answer.framing == "none":  # to HEAD
        return answer.field(b"content-type").startswith((b"text/html", b"application/json"))
    if answer.body.endswith(b"<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"):
        return True
    try:
        error = json.loads(answer.body)
    except ValueError:
        return False
    return isinstance(error, dict) and {"errcode", "error"} <= error.keys()


def as_local(seen: ClientSaw) -> ClientSaw:
    """Only what proxies' own pages have in common: test_local_answers compares the rest."""
    fields = tuple(field for field in seen.fields if field[0] == b"connection")
    return replace(seen, fields=fields, content=LOCAL, reason=b"", framing="own")


def _servers_saw(recorder: Recorder) -> tuple[ServerSaw, ...]:
    requests = [request for request in recorder.take() if request.case != b"probe"]
    numbers = {n: at for at, n in enumerate(dict.fromkeys(r.connection for r in requests))}
    return tuple(
        ServerSaw(
            request.server,
            numbers[request.connection],
            request.head.replace(b"X-Case: " + request.case + b"\r\n", b"X-Case: %CASE%\r\n"),
            dechunk(request.body) if request.framing == "chunked" else request.body,
            request.framing,
        )
        for request in requests
    )
