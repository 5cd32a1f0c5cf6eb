"""Servers that say they have no such endpoint: another pool is asked, once."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import Proxy, ScriptedServer

GET = b"GET /x?since=s1 HTTP/1.1\r\nHost: example.org\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: example.org\r\nContent-Length: 4\r\n\r\nbody"
UNKNOWN = b'{"errcode":"M_UNRECOGNIZED","error":"Unrecognized request"}'


def to(worker: ScriptedServer, main: ScriptedServer, **config: Any) -> Proxy:
    pools = {
        "worker": {"servers": [{"address": worker.address}], "unrecognized": "main"},
        "main": {"servers": [{"address": main.address}]},
    }
    route = {"name": "all", "location": "/", "pool": "worker"}
    return Proxy({"pools": pools, "routes": [route], **config})


def answer(status: int, body: bytes, *, chunked: bool = False, kind: str = "") -> bytes:
    fields = [f"HTTP/1.1 {status} X", f"Content-Type: {kind or 'application/json'}"]
    if chunked:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        fields.append("Transfer-Encoding: chunked")
    else:
        fields.append(f"Content-Length: {len(body)}")
    return "\r\n".join(fields).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("status", [404, 405])
@pytest.mark.parametrize("request_bytes", [GET, POST], ids=["GET", "POST"])
@pytest.mark.parametrize("gzip", ["on", "off"])
async def test_what_a_worker_does_not_know_is_asked_of_main(
    sockets: Path,
    caplog: pytest.LogCaptureFixture,
    status: int,
    chunked: bool,
    request_bytes: bytes,
    gzip: str,
) -> None:
    async with (
        ScriptedServer(sockets / "w") as worker,
        ScriptedServer(sockets / "m") as main,
        to(worker, main, http={"gzip": gzip}) as proxy,
    ):
        client = await proxy.client(request_bytes)
        peer, first = await worker.request()
        if request_bytes is POST:
            assert await peer.read(4) == b"body"
        await peer.send(answer(status, UNKNOWN, chunked=chunked))
        peer, second = await main.request()
        assert second == first
        if request_bytes is POST:
            assert await peer.read(4) == b"body"
        await peer.answer(b"from main")
        assert await client.received() == (200, b"from main")
        (record,) = await proxy.logged()
        assert [(attempt.server, attempt.status) for attempt in record.attempts] == [
            (worker.address, status),
            (main.address, 200),
        ]
        assert proxy.idle == 2  # both connections are good
        method = "GET" if request_bytes is GET else "POST"
        assert proxy.handler.misroutes.counts == {("all", method): 1}
        assert caplog.messages == [
            f"M_UNRECOGNIZED: {method} of route all, pool worker, is asked again of pool main "
            "(1 times); last: /x"
        ]


@pytest.mark.parametrize(
    "reply",
    [
        answer(404, b'{"errcode":"M_NOT_FOUND","error":"M_UNRECOGNIZED"}'),
        answer(400, UNKNOWN),
        answer(200, UNKNOWN),
        answer(404, UNKNOWN, kind="text/html"),
        answer(404, UNKNOWN + b" " * 2000),
        answer(404, UNKNOWN[:-1]),
    ],
    ids=["other code", "400", "200", "html", "large", "not JSON"],
)
async def test_other_answers_go_to_the_client(sockets: Path, reply: bytes) -> None:
    async with (
        ScriptedServer(sockets / "w") as worker,
        ScriptedServer(sockets / "m") as main,
        to(worker, main) as proxy,
    ):
        client = await proxy.client(GET)
        peer, _ = await worker.request()
        await peer.send(reply)
        body = reply.partition(b"\r\n\r\n")[2]
        assert await client.received() == (int(reply[9:12]), body)
        assert main.accepted == 0
        assert proxy.handler.misroutes.counts == {}


async def test_an_answer_that_comes_in_pieces_is_held_back_until_it_is_clear(
    sockets: Path,
) -> None:
    async with (
        ScriptedServer(sockets / "w") as worker,
        ScriptedServer(sockets / "m") as main,
        to(worker, main) as proxy,
    ):
        client = await proxy.client(GET)
        peer, _ = await worker.request()
        for byte in answer(404, UNKNOWN, chunked=True):
            await peer.send(bytes((byte,)))
        peer, _ = await main.request()
        await peer.answer(b"from main")
        assert await client.received() == (200, b"from main")


async def test_an_answer_that_grows_too_large_is_passed_on_as_it_comes(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "w") as worker,
        ScriptedServer(sockets / "m") as main,
        to(worker, main) as proxy,
    ):
        client = await proxy.client(GET)
        peer, _ = await worker.request()
        await peer.send(b"HTTP/1.1 404 X\r\nContent-Type: application/json\r\n")
        await peer.send(b"Transfer-Encoding: chunked\r\n\r\n")
        await peer.send(b"258\r\n" + b"x" * 600 + b"\r\n")
        await peer.send(b"258\r\n" + b"x" * 600 + b"\r\n")
        assert (await client.head()).startswith(b"HTTP/1.1 404 ")
        size = int(await client.until(b"\r\n"), 16)
        assert await client.read(size) == b"x" * size
        await peer.send(b"0\r\n\r\n")
        assert (await proxy.logged())[0].bytes_sent == 1200
        assert main.accepted == 0


async def test_an_answer_that_is_cut_while_it_is_held_back_is_a_502(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "w") as worker,
        ScriptedServer(sockets / "m") as main,
        to(worker, main) as proxy,
    ):
        client = await proxy.client(POST)
        peer, _ = await worker.request()
        await peer.send(answer(404, UNKNOWN)[:-5])
        peer.close()
        assert (await client.received())[0] == 502
        assert main.accepted == 0


async def test_a_client_that_leaves_while_an_answer_is_held_back_frees_the_server(
    sockets: Path,
) -> None:
    async with (
        ScriptedServer(sockets / "w") as worker,
        ScriptedServer(sockets / "m") as main,
        to(worker, main) as proxy,
    ):
        client = await proxy.client(GET)
        peer, _ = await worker.request()
        await peer.send(answer(404, UNKNOWN)[:-5])
        client.close()
        assert await peer.ended()
        assert (await proxy.logged())[0].status == 499


async def test_main_is_asked_once(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "w") as worker,
        ScriptedServer(sockets / "m") as main,
        to(worker, main) as proxy,
    ):
        client = await proxy.client(GET)
        for server in (worker, main):
            peer, _ = await server.request()
            await peer.send(answer(404, UNKNOWN))
        assert await client.received() == (404, UNKNOWN)


async def test_two_pools_that_name_each_other_make_no_circle(sockets: Path) -> None:
    async with ScriptedServer(sockets / "w") as first, ScriptedServer(sockets / "m") as second:
        pools = {
            "first": {"servers": [{"address": first.address}], "unrecognized": "second"},
            "second": {"servers": [{"address": second.address}], "unrecognized": "first"},
        }
        route = {"name": "all", "location": "/", "pool": "first"}
        async with Proxy({"pools": pools, "routes": [route]}) as proxy:
            client = await proxy.client(GET)
            for server in (first, second):
                peer, _ = await server.request()
                await peer.send(answer(404, UNKNOWN))
            assert await client.received() == (404, UNKNOWN)
            assert first.accepted == 1


async def test_a_body_that_is_no_longer_at_hand_cannot_be_sent_again(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "w") as worker,
        ScriptedServer(sockets / "m") as main,
        to(worker, main) as proxy,
    ):
        body = bytes(100_000)
        client = await proxy.client(
            b"POST /x HTTP/1.1\r\nHost: example.org\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        peer, _ = await worker.request()
        await client.send(body)
        await peer.read(len(body))
        await peer.send(answer(404, UNKNOWN))
        assert (await client.received())[0] == 404
        assert main.accepted == 0


async def test_an_answer_before_the_end_of_the_body_is_passed_on(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "w") as worker,
        ScriptedServer(sockets / "m") as main,
        to(worker, main) as proxy,
    ):
        client = await proxy.client(POST[:-2])
        peer, _ = await worker.request()
        await peer.send(answer(404, UNKNOWN))
        assert (await client.received())[0] == 404
        assert main.accepted == 0


async def test_a_warning_is_not_repeated_at_every_request(
    sockets: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        ScriptedServer(sockets / "w") as worker,
        ScriptedServer(sockets / "m") as main,
        to(worker, main) as proxy,
    ):
        client = await proxy.client()
        peers = []
        for number in range(3):
            await client.send(GET)
            for server in (worker, main):
                if number == 0:
                    peers.append((await server.request())[0])
                else:
                    await peers[server is main].head()
                await peers[server is main].send(answer(404, UNKNOWN))
            assert json.loads((await client.received())[1])["errcode"] == "M_UNRECOGNIZED"
        assert proxy.handler.misroutes.counts == {("all", "GET"): 3}
        warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warnings) == 1
