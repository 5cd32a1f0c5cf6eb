"""What nginx and synproxy do with connections over time: tunnels, streams, leavers, timeouts.

A test that shows a listed difference names its rows with ``shows``.
"""

from __future__ import annotations

import socket
import zlib

import pytest

from tests.differential.bench import Bench
from tests.differential.conversation import PROBE
from tests.differential.differences import listed_for
from tests.differential.exchange import (
    BIG,
    CHUNKED,
    LENGTH,
    OK,
    request,
)
from tests.differential.exchanges_answers import JSON_ANSWER, JSON_TEXT
from tests.differential.talk import SHOWN, Talk, shows
from tests.support.client import Client
from tests.support.process import ProxyProcess
from tests.support.script import WAIT, Then
from tests.support.script import Answer as ServerAnswer
from tests.support.synproxy import Synproxy

GET = b"GET /one/x HTTP/1.1"
UPGRADE = request(GET, b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13")
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: x\r\n\r\n"
)

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
    assert names[1] == [b"Server", b"Sec-WebSocket-Accept", b"Upgrade", b"Connection"]
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


# --- limits


@shows("full-servers-status")
def test_a_request_that_finds_all_servers_full(bench: Bench, synproxy: Synproxy) -> None:
    line = b"GET /narrow/x HTTP/1.1"
    statuses = []
    for proxy in (bench.nginx, synproxy):
        with (
            Talk(bench, proxy, ServerAnswer((WAIT, OK + LENGTH % 0 + b"\r\n\r\n"))) as first,
            Talk(bench, proxy) as second,
        ):
            first.send(request(line))
            bench.recorder.wait_for_request(first.case)
            second.send(request(line))
            statuses.append(second.answer().status)
            bench.recorder.release(first.case)
            assert first.answer().status == 200
            assert second.server_saw() == []
    assert statuses == [502, 429]


def test_the_rows_are_the_differences_that_are_shown() -> None:
    assert listed_for(__file__) == SHOWN[__name__]
