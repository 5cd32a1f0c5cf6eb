"""What nginx and synproxy answer by themselves, on which listener, and how soon they give up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

from synproxy.config.model import Gzip
from tests.differential import semantics_pair
from tests.differential.bench import Bench
from tests.differential.conversation import Seen, play
from tests.differential.differences import listed_for
from tests.differential.exchange import (
    JSON,
    LENGTH,
    OK,
    READ,
    Exchange,
    request,
)
from tests.differential.exchanges_answers import JSON_ANSWER, JSON_TEXT
from tests.differential.talk import SHOWN, Talk, shows
from tests.support.client import Client
from tests.support.process import ProxyProcess
from tests.support.script import Answer as ServerAnswer
from tests.support.synproxy import Synproxy

GET = b"GET /one/x HTTP/1.1"


# --- heads of answers


@shows("answer-field-order")
def test_the_order_of_answer_fields(bench: Bench, synproxy: Synproxy) -> None:
    sent = OK + b"B: 2\r\nSet-Cookie: z\r\nETag: 1\r\nA: 1\r\nSet-Cookie: a\r\n" + JSON
    names = []
    for proxy in (bench.nginx, synproxy):
        with Talk(
            bench, proxy, ServerAnswer((sent + b"\r\n" + LENGTH % 2 + b"\r\n\r\n{}",))
        ) as talk:
            talk.send(request(GET))
            names.append([line.partition(b":")[0] for line in talk.head()[1:]])
    its_own = [b"Server", b"Date", b"Content-Type", b"Content-Length", b"Connection"]
    assert names[0] == [*its_own, b"B", b"Set-Cookie", b"ETag", b"A", b"Set-Cookie"]
    given = [b"B", b"Set-Cookie", b"ETag", b"A", b"Set-Cookie", b"Content-Type"]
    assert names[1] == [b"Server", *given, b"Date", b"Content-Length"]


class Refusal(NamedTuple):
    """A request that a proxy answers by itself."""

    status: int
    errcode: bytes
    request: bytes
    source: str = "127.0.0.1"


REFUSALS = (
    Refusal(400, b"M_UNKNOWN", request(GET, host=b"")),
    Refusal(403, b"M_FORBIDDEN", request(b"GET /private/x HTTP/1.1"), "127.0.0.2"),
    Refusal(404, b"M_UNRECOGNIZED", request(b"GET /unknown HTTP/1.1")),
    Refusal(405, b"M_UNRECOGNIZED", request(b"TRACE /one/x HTTP/1.1")),
    Refusal(413, b"M_TOO_LARGE", request(b"PUT /small/x HTTP/1.1", LENGTH % 1001)),
    Refusal(414, b"M_TOO_LARGE", request(b"GET /" + b"x" * 70_000 + b" HTTP/1.1")),
    Refusal(502, b"M_UNKNOWN", request(b"GET /dead/x HTTP/1.1")),
)


@shows("local-answers")
@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: str(refusal.status))
def test_an_answer_of_its_own(bench: Bench, synproxy: Synproxy, refusal: Refusal) -> None:
    answers = []
    for proxy in (bench.nginx, synproxy):
        with Client(proxy.port, refusal.source) as client:
            client.send(refusal.request.replace(b"%CASE%", bench.case()))
            answers.append(client.read_answer())
    nginx, own = answers
    assert nginx is not None
    assert own is not None
    assert nginx.status == own.status == refusal.status
    assert nginx.field(b"content-type") == b"text/html"
    assert nginx.field(b"access-control-allow-origin") == b""
    assert own.field(b"content-type") == b"application/json"
    assert own.field(b"access-control-allow-origin") == b"*"
    assert nginx.field(b"cache-control") == b""
    assert own.field(b"cache-control") == b"no-cache, no-store, must-revalidate"
    assert own.body.startswith(b'{"errcode": "%b", "error": "' % refusal.errcode)


# --- listeners


def test_a_client_on_a_unix_socket(bench: Bench, synproxy: Synproxy) -> None:
    exchange = Exchange("", (request(GET), READ))
    seen: list[Seen] = []
    for proxy in (bench.nginx, synproxy):
        at = proxy.directory / "http.sock"
        seen.append(play(at, bench.recorder, exchange, bench.case()))
    assert seen[0].requests == seen[1].requests
    assert b"\r\nX-Forwarded-For: unix:\r\n" in seen[1].requests[0].head


def test_an_allowlist_of_addresses_refuses_a_unix_socket(
    bench: Bench, either: ProxyProcess
) -> None:
    with Client(either.directory / "http.sock") as client:
        client.send(request(b"GET /private/x HTTP/1.1"))
        answer = client.read_answer()
    assert answer is not None
    assert answer.status == 403


# --- timeouts and defaults


class Pair(NamedTuple):
    """nginx and synproxy with another configuration."""

    nginx: ProxyProcess
    synproxy: ProxyProcess


@pytest.fixture(scope="module")
def hurried(bench: Bench) -> Iterator[Pair]:
    """All of the client's timeouts are 300 ms, and gzip's Vary is left at its default."""
    names = ("client_header_timeout", "client_body_timeout", "keepalive_timeout")
    with TemporaryDirectory(prefix="sp") as name:
        for part in ("nginx", "synproxy"):
            (Path(name) / part).mkdir()
        sockets = bench.directory / "s"
        with (
            semantics_pair.nginx(
                Path(name) / "nginx", sockets, "".join(f"{name} 300ms; " for name in names)
            ) as nginx,
            semantics_pair.synproxy(
                Path(name) / "synproxy",
                sockets,
                "uvloop",
                {
                    "keepalive_timeout: 65s": "\n  ".join(f"{name}: 300ms" for name in names),
                    "    vary: false\n": "",
                },
            ) as synproxy,
        ):
            yield Pair(nginx, synproxy)


@shows("request-timeout-answer")
@pytest.mark.parametrize(
    "begun",
    [b"GET /one/x HTTP/1.1\r\nHost: ", request(b"PUT /one/x HTTP/1.1", LENGTH % 9, body=b"x")],
    ids=["head", "body"],
)
def test_a_request_that_does_not_come_in_time(bench: Bench, hurried: Pair, begun: bytes) -> None:
    with Talk(bench, hurried.nginx) as talk:
        talk.send(begun)
        assert talk.client.read_to_end() == b""
    with Talk(bench, hurried.synproxy) as talk:
        talk.send(begun)
        answer = talk.answer()
        assert (answer.status, answer.closes) == (408, True)
        assert talk.client.read_to_end() == b""


@pytest.mark.parametrize("which", Pair._fields)
@pytest.mark.parametrize("before", [b"", request(GET)], ids=["new", "used"])
def test_an_idle_client_is_dropped_without_a_word(
    bench: Bench, hurried: Pair, which: str, before: bytes
) -> None:
    with Talk(bench, getattr(hurried, which)) as talk:
        if before:
            talk.send(before)
            assert talk.answer().status == 200
        assert talk.client.read_to_end() == b""


@shows("gzip-vary")
def test_the_default_of_vary(bench: Bench, hurried: Pair) -> None:
    varies = []
    for proxy in hurried:
        with Talk(bench, proxy, ServerAnswer((JSON_ANSWER + b"\r\n" + JSON_TEXT,))) as talk:
            talk.send(request(GET, b"Accept-Encoding: gzip"))
            varies.append(talk.answer().field(b"vary"))
    assert varies == [b"", b"Accept-Encoding"]
    assert Gzip().vary


def test_the_rows_are_the_differences_that_are_shown() -> None:
    assert listed_for(__file__) == SHOWN[__name__]
