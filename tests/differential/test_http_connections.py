"""What nginx and synproxy do with connections over time: tunnels, streams, leavers, timeouts.

A test that shows a listed difference names its rows with ``shows``.
"""

from __future__ import annotations

import socket
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar

import pytest

from synproxy.config.model import Gzip
from tests.differential import semantics_pair
from tests.differential.bench import Bench
from tests.differential.conversation import PROBE, Seen, play
from tests.differential.differences import listed_for
from tests.differential.exchange import (
    BIG,
    CHUNKED,
    JSON,
    LENGTH,
    OK,
    READ,
    Exchange,
    request,
)
from tests.differential.exchanges_answers import JSON_ANSWER, JSON_TEXT
from tests.support.client import Answer, Client
from tests.support.process import ProxyProcess
from tests.support.recorder import WAIT, Then
from tests.support.recorder import Answer as ServerAnswer
from tests.support.synproxy import Synproxy

GET = b"GET /one/x HTTP/1.1"
UPGRADE = request(GET, b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13")
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: x\r\n\r\n"
)

Test = TypeVar("Test", bound=Callable[..., None])
SHOWN: set[str] = set()


def shows(*rows: str) -> Callable[[Test], Test]:
    """The test asserts both sides of these rows of docs/nginx-differences.md."""
    SHOWN.update(rows)
    return lambda test: test


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


@pytest.fixture(params=["nginx", "synproxy"])
def either(bench: Bench, synproxy: Synproxy, request: pytest.FixtureRequest) -> ProxyProcess:
    """Both proxies, where they do the same."""
    return bench.nginx if request.param == "nginx" else synproxy


# --- tunnels


def test_a_tunnel_passes_bytes_both_ways(bench: Bench, either: ProxyProcess) -> None:
    script = ServerAnswer((SWITCH + b"hello ",), Then.ECHO)
    with Talk(bench, either, script) as talk:
        talk.send(UPGRADE + b"early ")
        assert talk.head()[0] == b"HTTP/1.1 101 Switching Protocols"
        assert talk.client.read_exactly(12) == b"hello early "
        talk.send(BIG)
        assert talk.client.read_exactly(len(BIG)) == BIG
        talk.client.close()
        assert bench.recorder.wait_for_end(talk.case) == "eof"


def test_a_tunnel_ends_when_the_server_ends_it(bench: Bench, either: ProxyProcess) -> None:
    script = ServerAnswer((SWITCH + b"bye",), Then.CLOSE)
    with Talk(bench, either, script) as talk:
        talk.send(UPGRADE)
        talk.head()
        assert talk.client.read_to_end() == b"bye"


@shows("tunnel-head")
def test_the_head_of_a_tunnel(bench: Bench, synproxy: Synproxy) -> None:
    heads = []
    for proxy in (bench.nginx, synproxy):
        with Talk(bench, proxy, ServerAnswer((SWITCH,), Then.ECHO)) as talk:
            talk.send(UPGRADE)
            heads.append(talk.head()[1:])
    names = [[line.partition(b":")[0] for line in head] for head in heads]
    assert names[0] == [b"Server", b"Date", b"Connection", b"Upgrade", b"Sec-WebSocket-Accept"]
    assert names[1] == [b"Server", b"Upgrade", b"Connection", b"Sec-WebSocket-Accept"]
    assert {line for line in heads[0] if b"WebSocket" in line or b"Upgrade:" in line} <= set(
        heads[1]
    )


@shows("tunnel-half-close")
def test_a_client_that_half_closes_a_tunnel(bench: Bench, synproxy: Synproxy) -> None:
    rest = []
    for proxy in (bench.nginx, synproxy):
        script = ServerAnswer((SWITCH, WAIT, b"answer"), Then.CLOSE)
        with Talk(bench, proxy, script) as talk:
            talk.send(UPGRADE)
            talk.head()
            talk.client.socket.shutdown(socket.SHUT_WR)
            bench.recorder.wait_for_half_close(talk.case)
            bench.recorder.release(talk.case)
            rest.append(talk.client.read_to_end())
    assert rest == [b"", b"answer"]


# --- streams


def test_an_answer_is_passed_on_as_it_comes(bench: Bench, either: ProxyProcess) -> None:
    script = ServerAnswer((OK + LENGTH % 10 + b"\r\n\r\nhello", WAIT, b"world"))
    with Talk(bench, either, script) as talk:
        talk.send(request(GET))
        talk.head()
        assert talk.client.read_exactly(5) == b"hello"
        bench.recorder.release(talk.case)
        assert talk.client.read_exactly(5) == b"world"


def test_a_compressed_answer_is_passed_on_as_it_comes(bench: Bench, either: ProxyProcess) -> None:
    first, second = JSON_TEXT[:5000], JSON_TEXT[5000:]
    script = ServerAnswer((JSON_ANSWER + b"\r\n" + first, WAIT, second))
    with Talk(bench, either, script) as talk:
        talk.send(request(GET, b"Accept-Encoding: gzip"))
        assert b"Content-Encoding: gzip" in talk.head()
        inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
        content = b""
        while len(content) < len(first):
            content += inflate.decompress(_chunk(talk.client))
        assert content == first
        bench.recorder.release(talk.case)
        while chunk := _chunk(talk.client):
            content += inflate.decompress(chunk)
        assert content == JSON_TEXT
        assert inflate.eof


def _chunk(client: Client) -> bytes:
    line = client.read_until(b"\r\n")
    assert line is not None
    return client.read_exactly(int(line, 16) + 2)[:-2]


@shows("request-body-streamed")
@pytest.mark.parametrize("framing", [LENGTH % 10, CHUNKED], ids=["length", "chunked"])
def test_a_client_that_goes_inside_its_body(
    bench: Bench, synproxy: Synproxy, framing: bytes
) -> None:
    begun = b"hello" if framing is not CHUNKED else b"5\r\nhello\r\n"
    with Talk(bench, bench.nginx) as talk:
        talk.send(request(b"PUT /one/x HTTP/1.1", framing, body=begun))
        talk.client.close()
        with Client(bench.nginx.port) as other:  # nginx has one process: this comes after
            other.send(PROBE)
            assert other.read_answer() is not None
        assert talk.server_saw() == []
    with Talk(bench, synproxy) as talk:
        talk.send(request(b"PUT /one/x HTTP/1.1", framing, body=begun))
        bench.recorder.wait_for_head(talk.case)
        talk.client.close()
        bench.recorder.wait_for_end(talk.case)
        assert talk.server_saw() == ["cut"]


@shows("early-answer-closes")
def test_an_answer_before_the_body_is_sent(bench: Bench, synproxy: Synproxy) -> None:
    early = ServerAnswer((b"HTTP/1.1 413 Too Large\r\n" + LENGTH % 2 + b"\r\n\r\n{}",), early=True)
    asked = request(b"PUT /one/x HTTP/1.1", LENGTH % len(BIG))
    with Talk(bench, bench.nginx, early) as talk:
        talk.send(asked + BIG)
        answer = talk.answer()
        assert (answer.status, answer.closes) == (413, False)
    with Talk(bench, synproxy, early) as talk:
        talk.send(asked)
        answer = talk.answer()
        assert (answer.status, answer.closes) == (413, True)
        assert talk.client.read_to_end() == b""


# --- clients that leave


def test_a_client_that_goes_frees_the_server(bench: Bench, either: ProxyProcess) -> None:
    with Talk(bench, either, ServerAnswer((), Then.HANG)) as talk:
        talk.send(request(GET))
        bench.recorder.wait_for_request(talk.case)
        talk.client.close()
        assert bench.recorder.wait_for_end(talk.case) == "eof"


def test_a_client_that_goes_inside_an_answer_frees_the_server(
    bench: Bench, either: ProxyProcess
) -> None:
    begun = OK + LENGTH % 10 + b"\r\n\r\nhello"
    with Talk(bench, either, ServerAnswer((begun,), Then.HANG)) as talk:
        talk.send(request(GET))
        talk.head()
        talk.client.close()
        assert bench.recorder.wait_for_end(talk.case) == "eof"


def test_a_client_that_half_closes_counts_as_gone(bench: Bench, either: ProxyProcess) -> None:
    with Talk(bench, either, ServerAnswer((), Then.HANG)) as talk:
        talk.send(request(GET))
        bench.recorder.wait_for_request(talk.case)
        talk.client.socket.shutdown(socket.SHUT_WR)
        assert talk.client.read_to_end() == b""
        assert bench.recorder.wait_for_end(talk.case) == "eof"


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
    assert listed_for(__file__) == SHOWN
