"""HTTP/2 from a client through the whole data path; the client is the library h2."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import pytest
from h2 import events

from synproxy.downstream.http2 import CONNECTION_WINDOW, STREAM_WINDOW
from synproxy.downstream.http2_stream import HIGH_WATER
from tests.integration.harness import Peer, ScriptedServer, becomes_true
from tests.integration.http2 import Http2Proxy

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 0, 1, 2, 7, 8


async def test_requests_of_one_connection_are_answered_in_any_order(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server) as proxy:
        client = await proxy.http2()
        streams = [await client.ask(b"/%d" % number) for number in range(5)]
        asked = [await server.request() for _ in streams]
        for peer, head in reversed(asked):
            path = head.split(b" ")[1]
            assert head.startswith(b"GET %b HTTP/1.1\r\nHost: example.org\r\n" % path)
            await peer.answer(path, b"X-Path: " + path)
        for number, stream in enumerate(streams):
            assert await client.answer(stream) == (200, b"/%d" % number)
            fields = await client.head(stream)
            assert fields[b"x-path"] == b"/%d" % number
            assert fields[b"content-length"] == b"2"
        records = await proxy.logged(5)
        assert {record.version for record in records} == {b"HTTP/2.0"}
        assert proxy.idle == 5
        assert not proxy.streams


async def test_a_client_of_http1_is_served_by_the_same_listener(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server) as proxy:
        client = await proxy.client(b"P", b"UT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        peer, head = await server.request()
        assert head.startswith(b"PUT /x HTTP/1.1\r\n")
        await peer.answer(b"one")
        assert await client.received() == (200, b"one")
        assert proxy.handler.accepted.count == 1


@pytest.mark.parametrize("announced", [True, False], ids=["with a length", "without"])
async def test_a_body_reaches_the_server_whole(announced: bool, sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server) as proxy:
        client = await proxy.http2()
        length = [(b"content-length", b"40000")] if announced else []
        stream = await client.ask(b"/x", *length, method=b"PUT", end=False)
        peer, head = await server.request()
        assert (b"Content-Length: 40000\r\n" in head) is announced
        assert (b"Transfer-Encoding: chunked\r\n" in head) is not announced
        await client.send(stream, b"a" * 20_000)
        await client.send(stream, b"b" * 20_000, end=True)
        body = await peer.read(40_000) if announced else await peer.chunked()
        assert body == b"a" * 20_000 + b"b" * 20_000
        await peer.answer(b"stored")
        assert await client.answer(stream) == (200, b"stored")
        assert (await proxy.logged())[0].bytes_received == 40_000


async def test_a_body_of_another_length_than_announced_is_answered_400(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server) as proxy:
        client = await proxy.http2()
        stream = await client.ask(b"/x", (b"content-length", b"5"), method=b"PUT", end=False)
        peer, _ = await server.request()
        client.h2.streams[stream]._expected_content_length = None  # nobody checks ourselves
        await client.send(stream, b"1234", end=True)
        assert (await client.answer(stream))[0] == 400
        assert await peer.to_end() == b"1234"
        assert [record.status for record in await proxy.logged()] == [400]


async def test_cookies_go_on_as_one(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server) as proxy:
        client = await proxy.http2()
        await client.ask(b"/x", (b"cookie", b"a=1"), (b"te", b"trailers"), (b"cookie", b"b=2"))
        _, head = await server.request()
        assert b"cookie: a=1; b=2\r\n" in head
        assert b"trailers" not in head


async def test_a_slow_reader_stops_its_server_and_nobody_else(sockets: Path) -> None:
    size = 4_000_000
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server) as proxy:
        client = await proxy.http2()
        slow = await client.ask(b"/slow")
        peer, _ = await server.request()
        sending = asyncio.create_task(peer.answer(b"x" * size))
        await becomes_true(lambda: bool(proxy.streams) and proxy.streams[slow].queued > HIGH_WATER)
        await becomes_true(
            lambda: not proxy.streams[slow].exchange.server.transport.is_reading()  # type: ignore[union-attr]
        )
        other = await client.ask(b"/other", method=b"HEAD")
        second, _ = await server.request()
        await second.send(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
        assert await client.answer(other) == (200, b"")
        assert proxy.streams[slow].queued < HIGH_WATER + 512 * 1024
        status, body = await client.answer(slow)
        assert (status, len(body)) == (200, size)
        await sending


async def test_a_server_that_does_not_read_stops_its_client(sockets: Path) -> None:
    config = {"http": {"client_max_body_size": 0}}
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server, **config) as proxy:
        client = await proxy.http2()
        stream = await client.ask(b"/up", method=b"POST", end=False)
        peer, _ = await server.request()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        sent = 0

        async def send() -> None:
            nonlocal sent
            while window := min(client.h2.local_flow_control_window(stream), 16384):
                await client.send(stream, b"u" * window)
                sent += window

        await send()
        while True:  # until it hears of no more room
            try:
                async with asyncio.timeout(0.2):
                    await client.read()
            except TimeoutError:
                break
            await send()
        assert sent < 2_000_000
        held = sum(map(len, proxy.streams[stream]._held or []))
        assert held <= STREAM_WINDOW
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        while client.h2.local_flow_control_window(stream) < 3:
            await client.read()
        await client.send(stream, b"end", end=True)
        assert len(await peer.chunked()) == sent + 3
        await peer.answer(b"ok")
        assert await client.answer(stream) == (200, b"ok")


async def test_a_stream_that_is_reset_leaves_the_others(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server) as proxy:
        client = await proxy.http2()
        gone = await client.ask(b"/gone")
        left, _ = await server.request()
        stays = await client.ask(b"/stays")
        peer, _ = await server.request()
        client.h2.reset_stream(gone, CANCEL)
        await client.flush()
        assert await left.ended()
        await peer.answer(b"here")
        assert await client.answer(stays) == (200, b"here")
        assert [(r.status, r.end_reason) for r in await proxy.logged(2)] == [
            (499, "client_gone"),
            (200, "ok"),
        ]


async def test_a_truncated_answer_resets_its_stream(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server) as proxy:
        client = await proxy.http2()
        cut = await client.ask(b"/cut")
        peer, _ = await server.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal")
        await client.until(lambda e: isinstance(e, events.DataReceived))
        peer.close()
        assert await client.reset(cut) == INTERNAL_ERROR
        assert client.body(cut) == b"hal"
        again = await client.ask(b"/again")
        peer, _ = await server.request()
        await peer.answer(b"fine")
        assert await client.answer(again) == (200, b"fine")


async def test_what_is_answered_here_says_so_in_matrix_json(sockets: Path) -> None:
    routes = [{"name": "all", "location": "/x", "pool": "pool"}]
    async with (
        ScriptedServer(sockets / "a") as server,
        Http2Proxy.to(server, routes=routes, http={"client_max_body_size": 10}) as proxy,
    ):
        client = await proxy.http2()
        unknown = await client.ask(b"/nowhere")
        status, body = await client.answer(unknown)
        assert (status, b"M_UNRECOGNIZED" in body) == (404, True)
        assert (await client.head(unknown))[b"access-control-allow-origin"] == b"*"
        large = await client.ask(b"/x", (b"content-length", b"11"), method=b"POST", end=False)
        status, body = await client.answer(large)
        assert (status, b"M_TOO_LARGE" in body) == (413, True)
        assert await client.reset(large) == NO_ERROR  # the body is not wanted any more
        await client.answer(await client.ask(b"/nowhere", method=b"HEAD"))
        assert [r.bytes_sent for r in await proxy.logged(3)][2] == 0


async def test_answers_are_compressed_as_for_http1(sockets: Path) -> None:
    http = {"gzip": {"enabled": True, "types": ["application/json"], "min_length": 10}}
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server, http=http) as proxy:
        client = await proxy.http2()
        stream = await client.ask(b"/x", (b"accept-encoding", b"gzip"))
        peer, _ = await server.request()
        await peer.answer(b'"%b"' % (b"a" * 1000), b"Content-Type: application/json")
        status, body = await client.answer(stream)
        assert (status, gzip.decompress(body)) == (200, b'"%b"' % (b"a" * 1000))
        head = await client.head(stream)
        assert (head[b"content-encoding"], head[b"vary"]) == (b"gzip", b"Accept-Encoding")
        assert head[b"content-length"] == b"%d" % len(body)


async def test_a_chunked_answer_ends_with_its_stream(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server) as proxy:
        client = await proxy.http2()
        stream = await client.ask()
        peer, _ = await server.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await client.until(lambda e: isinstance(e, events.DataReceived))
        assert client.body(stream) == b"abc"
        await peer.send(b"2\r\nde\r\n0\r\n\r\n")
        assert await client.answer(stream) == (200, b"abcde")
        assert b"transfer-encoding" not in await client.head(stream)


async def test_who_expects_100_is_told_to_continue(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server) as proxy:
        client = await proxy.http2()
        fields = ((b"expect", b"100-continue"), (b"content-length", b"4"))
        stream = await client.ask(b"/x", *fields, method=b"PUT", end=False)
        peer, _ = await server.request()
        event = await client.until(lambda e: isinstance(e, events.InformationalResponseReceived))
        assert dict(event.headers) == {b":status": b"100"}
        await client.send(stream, b"body", end=True)
        assert await peer.read(4) == b"body"
        await peer.answer(b"ok")
        assert await client.answer(stream) == (200, b"ok")


async def test_more_streams_than_allowed_are_refused(sockets: Path) -> None:
    http = {"http2_max_concurrent_streams": 2}
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server, http=http) as proxy:
        client = await proxy.http2()
        client.h2.remote_settings.max_concurrent_streams = 100  # whatever we were told
        client.h2.remote_settings.acknowledge()
        streams = [await client.ask() for _ in range(3)]
        peers = [await server.request() for _ in range(2)]
        assert await client.reset(streams[2]) == REFUSED_STREAM
        for peer, _ in peers:
            await peer.answer()
        assert await client.answer(streams[0]) == (200, b"ok")


async def test_a_body_that_does_not_come_in_time_is_answered_408(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server) as proxy:
        client = await proxy.http2()
        late = await client.ask(b"/late", method=b"PUT", end=False)
        await server.request()
        held = await client.ask(b"/held")
        peer, _ = await server.request()
        proxy.pass_time(62)
        assert (await client.answer(late))[0] == 408
        await peer.answer(b"held")
        assert await client.answer(held) == (200, b"held")


async def test_who_does_not_take_an_answer_in_time_loses_it(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server) as proxy:
        client = await proxy.http2(window=100)
        stream = await client.ask()
        peer, _ = await server.request()
        await peer.answer(b"x" * 1000)
        await becomes_true(lambda: bool(proxy.streams) and proxy.streams[stream].queued == 900)
        proxy.pass_time(62)
        assert await client.reset(stream) == CANCEL


async def test_an_idle_connection_is_told_to_go_away(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server) as proxy:
        client = await proxy.http2()
        stream = await client.ask()
        peer, _ = await server.request()
        proxy.pass_time(100)  # a request in progress is not idle
        await peer.answer()
        assert await client.answer(stream) == (200, b"ok")
        proxy.pass_time(77)
        assert await client.goaway() == (NO_ERROR, stream)
        await client.to_end()


async def test_a_preface_that_does_not_come_in_time_is_the_end(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server) as proxy:
        client = await proxy.client(b"PRI * HTTP/2.0\r\n")
        await becomes_true(lambda: len(proxy.handler.connections) == 1)
        proxy.pass_time(62)
        assert await client.ended()


async def test_a_drain_ends_a_connection_after_what_it_has_begun(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server) as proxy:
        client = await proxy.http2()
        stream = await client.ask()
        peer, _ = await server.request()
        (connection,) = proxy.handler.connections
        proxy.handler.drain()
        connection.shut_down_idle()
        assert await client.goaway() == (NO_ERROR, stream)
        await peer.answer(b"last")
        assert await client.answer(stream) == (200, b"last")
        await client.to_end()


async def test_a_connection_ends_after_so_many_requests(sockets: Path) -> None:
    http = {"keepalive_requests": 2}
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server, http=http) as proxy:
        client = await proxy.http2()
        first = await client.ask()
        peer, _ = await server.request()
        await peer.answer(b"1")
        assert await client.answer(first) == (200, b"1")
        second = await client.ask()
        await peer.head()
        assert await client.goaway() == (NO_ERROR, second)
        await peer.answer(b"2")
        assert await client.answer(second) == (200, b"2")
        await client.to_end()


async def test_a_client_that_leaves_takes_all_its_requests_along(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server) as proxy:
        client = await proxy.http2()
        peers: list[Peer] = []
        for _ in range(3):
            await client.ask()
            peers.append((await server.request())[0])
        client.peer.reset()
        for peer in peers:
            assert await peer.ended()
        assert {r.end_reason for r in await proxy.logged(3)} == {"client_gone"}
        await becomes_true(lambda: not proxy.handler.connections)
        assert len(proxy.wheel) == 0


async def test_what_is_malformed_is_answered_reset_and_logged(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server) as proxy:
        client = await proxy.http2()
        client.h2.config.validate_outbound_headers = False
        client.h2.config.normalize_outbound_headers = False
        bad = await client.ask(b"/x", (b"connection", b"close"))
        assert (await client.head(bad))[b":status"] == b"400"
        assert await client.reset(bad) == PROTOCOL_ERROR
        good = await client.ask(b"/x")
        peer, _ = await server.request()
        await peer.answer()
        assert await client.answer(good) == (200, b"ok")
        refused, _ = await proxy.logged(2)
        assert (refused.method, refused.target, refused.status) == (b"GET", b"/x", 400)


def test_windows_bound_what_a_connection_can_make_us_keep() -> None:
    assert STREAM_WINDOW <= CONNECTION_WINDOW <= 1024 * 1024


async def test_a_trusted_proxy_says_whose_request_it_is(sockets: Path) -> None:
    http = {"trusted_proxies": {"networks": ["127.0.0.1"]}}
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server, http=http) as proxy:
        client = await proxy.http2()
        peer: Peer | None = None
        for address in (b"192.0.2.1", b"192.0.2.2"):
            stream = await client.ask(b"/x", (b"x-forwarded-for", address))
            peer = peer or await server.connection()
            head = await peer.head()
            assert b"X-Forwarded-For: %b\r\n" % address in head
            await peer.answer()
            assert await client.answer(stream) == (200, b"ok")
        records = await proxy.logged(2)
        assert [record.remote_addr for record in records] == [b"192.0.2.1", b"192.0.2.2"]


async def test_a_head_is_as_long_as_in_http1_at_most(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Http2Proxy.to(server) as proxy:
        client = await proxy.http2()
        fields = [(b"x-%d" % number, b"v" * 4000) for number in range(9)]  # of 4 times 8 KiB
        status, body = await client.answer(await client.ask(b"/x", *fields))
        assert (status, b"M_TOO_LARGE" in body) == (431, True)
