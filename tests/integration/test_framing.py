"""Bodies and connections: where messages begin and end, in both directions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.harness import Proxy, ScriptedServer

GET = b"GET /x HTTP/1.1\r\nHost: example.org\r\n\r\n"


async def test_a_body_with_a_length_reaches_the_server_whole(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(
            b"PUT /x HTTP/1.1\r\nHost: example.org\r\nContent-Length: 10\r\n\r\nhello"
        )
        peer, head = await server.request()
        assert b"\r\nContent-Length: 10\r\n" in head
        await client.send(b"world")
        assert await peer.read(10) == b"helloworld"
        await peer.answer(b"stored")
        assert await client.received() == (200, b"stored")


async def test_bodies_of_one_connection_have_each_their_own_length(sockets: Path) -> None:
    headers = {"X-Length": "$content_length", "X-Field": "${http_content_length}!"}
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, proxy={"set_header": headers}) as proxy,
    ):
        client = await proxy.client()
        peer = None
        bodies = (b"12345", b"", b"1234567890", b"12345", b"x" * 70_000)
        for count, body in enumerate(bodies, start=1):
            await client.send(
                b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            peer = peer or await server.connection()
            head = await peer.head()
            length = str(len(body)).encode()
            assert b"\r\nContent-Length: %b\r\n" % length in head
            assert b"X-Length: %b\r\nX-Field: %b!\r\n" % (length, length) in head
            assert await peer.read(len(body)) == body
            await peer.answer(body[:9])
            assert await client.received() == (200, body[:9])
            assert (await proxy.logged(count))[-1].bytes_received == len(body)
        assert proxy.idle == 1


async def test_a_chunked_body_is_framed_anew_without_extensions_and_trailers(
    sockets: Path,
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(
            b"POST /x HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n"
            b"Trailer: X-Sum\r\n\r\n3;name=value\r\nabc\r\n",
            b"2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n",
        )
        peer, head = await server.request()
        assert b"\r\nTransfer-Encoding: chunked\r\n" in head
        assert b"Trailer" not in head
        assert await peer.chunked() == b"abcde"
        await peer.answer()
        assert await client.received() == (200, b"ok")
        assert (await proxy.logged())[0].bytes_received == 5


async def test_a_chunked_answer_is_framed_anew(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(GET)
        peer, _ = await server.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x\r\n")
        await peer.send(b"abcd\r\n0\r\nX-Trailer: 1\r\n\r\n")
        head = await client.head()
        assert b"Transfer-Encoding: chunked" in head
        assert await client.chunked() == b"abcd"
        await proxy.logged()
        assert proxy.idle == 1


async def test_an_answer_without_length_ends_with_its_connection(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(GET)
        peer, _ = await server.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nto the end")
        peer.close()
        assert await client.received() == (200, b"to the end")
        assert proxy.idle == 0
        await client.send(GET)
        peer, _ = await server.request()
        await peer.answer(b"next")
        assert await client.received() == (200, b"next")


async def test_http_1_0_gets_a_chunked_answer_without_chunks(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        peer, head = await server.request()
        assert head.startswith(b"GET /x HTTP/1.1\r\n")
        await peer.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )
        answer = await client.head()
        assert b"Connection: close" in answer
        assert b"chunked" not in answer
        assert await client.to_end() == b"abc"


async def test_http_1_0_with_keep_alive_may_ask_again(sockets: Path) -> None:
    request = b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(request)
        peer, _ = await server.request()
        await peer.answer(b"one")
        assert b"\r\nConnection: keep-alive\r\n" in await client.head()
        assert await client.read(3) == b"one"
        await client.send(request)
        await peer.head()
        await peer.answer(b"two")
        assert await client.received() == (200, b"two")


async def test_http_1_0_without_keep_alive_is_closed(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(b"GET /x HTTP/1.0\r\n\r\n")
        peer, _ = await server.request()
        await peer.answer(b"one")
        assert (await client.to_end()).endswith(b"Connection: close\r\n\r\none")


@pytest.mark.parametrize(
    ("request_line", "answer"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
    ids=["HEAD", "204", "304", "empty"],
)
async def test_answers_without_a_body_keep_both_connections(
    sockets: Path, request_line: bytes, answer: bytes
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(request_line + b" /x HTTP/1.1\r\nHost: example.org\r\n\r\n")
        peer, _ = await server.request()
        await peer.send(answer)
        head = await client.head()
        assert head[9:12] == answer[9:12]
        assert (b"Content-Length" in head) == (b"Content-Length" in answer)
        await client.send(GET)
        await peer.head()
        await peer.answer(b"second")
        assert await client.received() == (200, b"second")
        assert server.accepted == 1


async def test_pipelined_requests_are_answered_in_order_and_never_pipelined_on(
    sockets: Path,
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        requests = [b"GET /%d HTTP/1.1\r\nHost: example.org\r\n\r\n" % n for n in range(4)]
        client = await proxy.client(b"".join(requests))
        peer, head = await server.request()
        for number in range(4):
            assert head.startswith(b"GET /%d " % number)
            await peer.answer(b"%d" % number)
            assert await client.received() == (200, b"%d" % number)
            if number < 3:
                head = await peer.head()
        assert server.accepted == 1


async def test_pipelined_requests_are_answered_after_the_client_has_sent_its_last(
    sockets: Path,
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(GET + GET)
        peer, _ = await server.request()
        client.writer.write_eof()
        await peer.answer(b"one")
        assert await client.received() == (200, b"one")


async def test_a_good_request_is_answered_before_a_bad_one_behind_it(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(GET + b"BAD\r\n\r\n")
        peer, _ = await server.request()
        await peer.answer(b"good")
        assert await client.received() == (200, b"good")
        status, body = await client.received()
        assert status == 400
        assert b"M_UNKNOWN" in body
        assert await client.ended()


async def test_100_continue_is_answered_once_a_server_is_there(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(
            b"PUT /x HTTP/1.1\r\nHost: example.org\r\nContent-Length: 4\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        peer, head = await server.request()
        assert b"Expect" not in head
        assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"body")
        assert await peer.read(4) == b"body"
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        await peer.answer(b"done")
        assert await client.received() == (200, b"done")


async def test_an_upload_that_is_too_large_is_refused_before_100_continue(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, http={"client_max_body_size": "1k"}) as proxy,
    ):
        client = await proxy.client(
            b"PUT /x HTTP/1.1\r\nHost: example.org\r\nContent-Length: 1025\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        status, body = await client.received()
        assert status == 413
        assert b"M_TOO_LARGE" in body
        assert await client.ended()
        assert server.accepted == 0


async def test_a_chunked_upload_is_cut_at_the_limit(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, http={"client_max_body_size": "8"}) as proxy,
    ):
        client = await proxy.client(
            b"PUT /x HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5\r\nhello\r\n"
        )
        peer, _ = await server.request()
        await client.send(b"5\r\nworld\r\n")
        status, _ = await client.received()
        assert status == 413
        assert b"world" not in await peer.to_end()
        assert [record.status for record in await proxy.logged()] == [413]


async def test_an_answer_before_the_end_of_an_upload_is_passed_on(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(
            b"PUT /x HTTP/1.1\r\nHost: example.org\r\nContent-Length: 1000000\r\n\r\nbegin"
        )
        peer, _ = await server.request()
        await peer.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
        head = await client.head()
        assert head.startswith(b"HTTP/1.1 401 ")
        assert b"\r\nConnection: close\r\n" in head
        assert await client.read(2) == b"no"
        assert await client.ended()
        assert await peer.to_end() == b"begin"
        assert proxy.idle == 0


async def test_the_rest_of_a_small_body_is_dropped_and_the_connection_goes_on(
    sockets: Path,
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(
            b"PUT /x HTTP/1.1\r\nHost: example.org\r\nContent-Length: 10\r\n\r\nbegin"
        )
        peer, _ = await server.request()
        await peer.answer(b"early")
        assert await client.received() == (200, b"early")
        await client.send(b"later" + GET)
        peer, head = await server.request()
        assert head.startswith(b"GET /x ")
        await peer.answer(b"second")
        assert await client.received() == (200, b"second")


async def test_keepalive_requests_ends_a_connection(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, http={"keepalive_requests": 2}) as proxy,
    ):
        client = await proxy.client(GET)
        peer, _ = await server.request()
        await peer.answer(b"1")
        assert b"Connection" not in await client.head()
        await client.read(1)
        await client.send(GET)
        await peer.head()
        await peer.answer(b"2")
        assert b"\r\nConnection: close\r\n" in await client.head()
        assert await client.to_end() == b"2"


async def test_named_groups_of_a_route_can_be_sent_on(sockets: Path) -> None:
    route = {
        "name": "room",
        "location": "~ ^/rooms/(?<room>[^/]+)",
        "pool": "pool",
        "proxy": {"set_header": {"X-Room": "$room"}},
    }
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, routes=[route]) as proxy:
        client = await proxy.client(b"GET /rooms/%21abc HTTP/1.1\r\nHost: example.org\r\n\r\n")
        peer, head = await server.request()
        assert b"\r\nX-Room: !abc\r\n" in head
        await peer.answer()
        assert await client.received() == (200, b"ok")


async def test_an_escaped_line_break_cannot_become_a_header(sockets: Path) -> None:
    proxy_settings = {"set_header": {"X-Path": "$uri"}}
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, proxy=proxy_settings) as proxy,
    ):
        client = await proxy.client(
            b"GET /x%0d%0aX-Forwarded-For:%206.6.6.6 HTTP/1.1\r\nHost: example.org\r\n\r\n"
        )
        assert (await client.received())[0] == 400
        assert server.accepted == 0
