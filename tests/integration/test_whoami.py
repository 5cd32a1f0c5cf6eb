"""Users with tokens that say nothing: whom they belong to is asked once, and nobody waits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Self

import pytest

from synproxy.config.model import Pool, Server
from synproxy.core.balance import Balancer
from synproxy.core.user_key import FAILED_TTL, UNKNOWN_TTL, Owners, token_digest
from synproxy.proxy.generation import Generation
from synproxy.upstream.fetch import BODY_LIMIT
from synproxy.upstream.whoami import CONCURRENCY, TIMEOUT, WAITING
from tests.integration.harness import WAIT, Peer, Proxy, ScriptedServer, becomes_true

TTL = 600.0
CANARY = b"canaryCANARY"
DENIED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}"


def names(user_id: bytes) -> bytes:
    return b'{"user_id": "%b", "is_guest": false, "device_id": "D"}' % user_id


def sync(token: bytes, query: bytes = b"") -> bytes:
    return (
        b"GET /_matrix/client/v3/sync%b HTTP/1.1\r\nHost: matrix.example.org\r\n"
        b"User-Agent: Element\r\nAuthorization: Bearer %b\r\n\r\n"
    ) % (query, token)


class Process:
    """A Synapse process: its requests, none of which has a body, come on any connection."""

    def __init__(self, path: Path) -> None:
        self.server = ScriptedServer(path)
        self._requests: asyncio.Queue[tuple[Peer, bytes]] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        await self.server.__aenter__()
        self._tasks = {asyncio.ensure_future(self._accept())}
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self) -> None:
        while True:
            peer = await self.server._peers.get()
            self._tasks.add(asyncio.ensure_future(self._listen(peer)))

    async def _listen(self, peer: Peer) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self._requests.put_nowait((peer, await peer.reader.readuntil(b"\r\n\r\n")))

    async def request(self) -> tuple[Peer, bytes]:
        """The next request, on a new connection or an old one."""
        return await asyncio.wait_for(self._requests.get(), WAIT)


class House:
    """A proxy, its sync workers, and the process that knows whose tokens are."""

    def __init__(self, sockets: Path, mains: int = 1, **synapse: Any) -> None:
        self.workers = [Process(sockets / f"sync{number}") for number in range(4)]
        self.mains = [Process(sockets / f"main{number}") for number in range(mains)]
        self.main = self.mains[0]
        self.config: dict[str, Any] = {
            "synapse": {"whoami": "main", "whoami_ttl": TTL, **synapse},
            "pools": {
                "sync": {
                    "servers": [{"address": worker.server.address} for worker in self.workers],
                    "balance": {"hash": "$synapse_user"},
                },
                "main": {"servers": [{"address": main.server.address} for main in self.mains]},
            },
            "routes": [{"name": "sync", "location": "/", "pool": "sync"}],
        }
        self.proxy = Proxy(self.config)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for process in (*self.workers, *self.mains):
            await self._stack.enter_async_context(process)
        await self._stack.enter_async_context(self.proxy)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def owners(self) -> Owners:
        owners = self.proxy.generation.users.owners
        assert owners is not None
        return owners

    def home(self, key: bytes) -> int:
        return self.proxy.generation.pools["sync"].balancer.preference(key)[0]

    def home_of_token(self, token: bytes) -> int:
        return self.home(b"token:" + token_digest(token)[:8].hex().encode())

    def token(self, user: bytes) -> bytes:
        """A token whose hash leads to another worker than its user's name."""
        tokens = (b"mat_%b%d" % (CANARY, number) for number in range(1000))
        return next(token for token in tokens if self.home_of_token(token) != self.home(user))

    async def goes_to(self, client: Peer, request: bytes, worker: int, answer: bytes = b"") -> None:
        """Send a request and check which worker gets it; answer it."""
        await client.send(request)
        peer, _ = await self.workers[worker].request()
        if answer:
            await peer.send(answer)
        else:
            await peer.answer()
        await client.received()

    async def noted(self, token: bytes) -> None:
        """Wait until an answer about a token has been noted."""
        await becomes_true(lambda: self.owners.find(token_digest(token))[1])


async def test_the_first_request_does_not_wait_and_the_next_one_is_at_home(sockets: Path) -> None:
    async with House(sockets) as house:
        token = house.token(b"alice")
        client = await house.proxy.client()
        await house.goes_to(client, sync(token), house.home_of_token(token))
        asked, head = await house.main.request()
        await house.goes_to(client, sync(token), house.home_of_token(token))
        await asked.answer(names(b"@alice:example.org"))
        await house.noted(token)
        for _ in range(3):  # the header block is the same, what is known of it is not
            await house.goes_to(client, sync(token), house.home(b"alice"))
        assert house.main.server.accepted == 1
        lines = head.split(b"\r\n")
        assert lines[0] == b"GET /_matrix/client/v3/account/whoami HTTP/1.1"
        assert sorted(lines[1:-2]) == [
            b"Authorization: Bearer " + token,
            b"Host: matrix.example.org",
            b"User-Agent: Element",
            b"X-Forwarded-For: 127.0.0.1",
            b"X-Forwarded-Proto: http",
        ]


async def test_a_new_token_of_a_known_user_comes_home_too(sockets: Path) -> None:
    """Tokens of matrix-authentication-service live for five minutes."""
    async with House(sockets) as house:
        client = await house.proxy.client()
        for token in (house.token(b"alice"), house.token(b"alice") + b"x"):
            await house.goes_to(client, sync(token), house.home_of_token(token))
            asked, _ = await house.main.request()
            await asked.answer(names(b"@alice:example.org"))
            await house.noted(token)
            await house.goes_to(client, sync(token), house.home(b"alice"))
        assert house.main.server.accepted == 1


async def test_a_token_in_the_query_is_asked_about_too(sockets: Path) -> None:
    async with House(sockets) as house:
        token = house.token(b"alice")
        request = b"GET /sync?access%%5Ftoken=%b HTTP/1.1\r\nHost: x\r\n\r\n" % token
        client = await house.proxy.client()
        await house.goes_to(client, request, house.home_of_token(token))
        asked, head = await house.main.request()
        assert b"\r\nAuthorization: Bearer %b\r\n" % token in head
        await asked.answer(names(b"@alice:example.org"))
        await house.noted(token)
        await house.goes_to(client, request, house.home(b"alice"))
        await house.goes_to(client, request, house.home(b"alice"), DENIED)
        await house.goes_to(client, request, house.home_of_token(token))


async def test_fifty_requests_at_once_ask_once(sockets: Path) -> None:
    async with House(sockets) as house:
        token = house.token(b"alice")
        clients = [await house.proxy.client(sync(token)) for _ in range(50)]
        worker = house.workers[house.home_of_token(token)]
        held = [await worker.request() for _ in clients]
        asked, _ = await house.main.request()
        for peer, _ in held:
            await peer.answer()
        for client in clients:
            assert (await client.received())[0] == 200
        await asked.answer(names(b"@alice:example.org"))
        await house.noted(token)
        for client in clients:
            await house.goes_to(client, sync(token), house.home(b"alice"))
        assert house.main.server.accepted == 1


async def test_only_so_many_questions_are_under_way(sockets: Path) -> None:
    async with House(sockets) as house:
        tokens = [b"mat_%d" % number for number in range(CONCURRENCY + 5)]
        client = await house.proxy.client()
        for token in tokens:
            await house.goes_to(client, sync(token), house.home_of_token(token))
        asked = [await house.main.request() for _ in range(CONCURRENCY)]
        assert house.main.server.accepted == CONCURRENCY
        for peer, _ in asked:
            await peer.answer(names(b"@alice:example.org"))
        for _ in range(5):  # those that waited, on the same connections
            peer, _ = await house.main.request()
            await peer.answer(names(b"@alice:example.org"))
        for token in tokens:
            await house.noted(token)
        assert house.main.server.accepted == CONCURRENCY


class View:
    """As much of a request as a key needs."""

    method = b"GET"
    target = path = b"/"
    query = b""
    version = b"HTTP/1.1"
    scheme = b"http"
    remote_addr = b"192.0.2.1"
    remote_port = server_port = b"1"
    socket_peer = remote_addr, remote_port
    proxy_protocol = b"", b"", b"", b""
    server_addr = b"192.0.2.9"
    ssl_protocol = ssl_cipher = ssl_server_name = b""
    host = b"example.org"
    request_id = b"1"

    def __init__(self, token: bytes) -> None:
        self._token = token
        self.captures: dict[str, bytes] = {}

    def header(self, name: bytes) -> bytes:
        return b"Bearer " + self._token if name == b"authorization" else b""


async def test_questions_are_bounded_and_end_when_nobody_can_be_asked(
    sockets: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with House(sockets) as house:
        house.main.server.stop()
        with caplog.at_level(logging.INFO, "synproxy.whoami"):
            for number in range(CONCURRENCY + WAITING + 500):
                house.proxy.generation.users.key(View(b"mat_%b%d" % (CANARY, number)))
            await becomes_true(lambda: len(house.owners) == CONCURRENCY + WAITING)
        assert len(caplog.records) == 1
        assert "pool main cannot say whose tokens are" in caplog.text
        assert CANARY.decode() not in caplog.text


class AllDown(Balancer):
    """The books of a pool whose servers have all been taken out meanwhile."""

    def pick(self, key: bytes, tried: Container[int], now: float) -> int | None:
        return None


@pytest.mark.interpreted
async def test_questions_that_no_server_can_take_end_at_once(sockets: Path) -> None:
    """However many there are: their end must not nest."""
    async with House(sockets) as house:
        keys = house.proxy.generation.users
        for number in range(CONCURRENCY):
            keys.key(View(b"mat_%d" % number))
        asked = [await house.main.request() for _ in range(CONCURRENCY)]
        for number in range(WAITING):
            keys.key(View(b"mat_waits_%d" % number))
        house.proxy.generation.pools["main"].balancer = AllDown(
            Pool(servers=(Server(address="x:1"),))
        )
        await asked[0][0].answer(names(b"@alice:example.org"))
        await becomes_true(lambda: len(house.owners) == 1 + WAITING)


Answer = Callable[["House", Peer], Awaitable[None]]


async def cut(house: House, asked: Peer) -> None:
    asked.close()


async def slow(house: House, asked: Peer) -> None:
    await asked.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
    house.proxy.pass_time(TIMEOUT + 1)


async def bad_gateway(house: House, asked: Peer) -> None:
    await asked.send(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")


async def nonsense(house: House, asked: Peer) -> None:
    await asked.answer(b"<html>")


async def too_long(house: House, asked: Peer) -> None:
    await asked.answer(b"x" * (BODY_LIMIT + 1))


@pytest.mark.parametrize("fail", [cut, slow, bad_gateway, nonsense, too_long])
async def test_without_an_answer_the_token_stays_the_key_for_a_while(
    sockets: Path, fail: Answer
) -> None:
    async with House(sockets) as house:
        token = house.token(b"alice")
        client = await house.proxy.client()
        await house.goes_to(client, sync(token), house.home_of_token(token))
        asked, _ = await house.main.request()
        await fail(house, asked)
        await house.noted(token)
        accepted = house.main.server.accepted
        await house.goes_to(client, sync(token), house.home_of_token(token))
        house.proxy.pass_time(FAILED_TTL + 1)
        await house.goes_to(client, sync(token), house.home_of_token(token))
        asked, _ = await house.main.request()
        await asked.answer(names(b"@alice:example.org"))
        digest = token_digest(token)
        await becomes_true(lambda: (house.owners.find(digest)[0] or (b"",))[0] == b"alice")
        await house.goes_to(client, sync(token), house.home(b"alice"))
        assert house.main.server.accepted <= accepted + 1


async def test_another_server_is_asked_when_one_is_gone(sockets: Path) -> None:
    async with House(sockets, mains=2) as house:
        house.main.server.stop()
        token = house.token(b"alice")
        client = await house.proxy.client()
        for number in range(2):  # whichever comes first in turn
            await house.goes_to(client, sync(token), house.home_of_token(token))
            asked, _ = await house.mains[1].request()
            await asked.answer(names(b"@alice:example.org"))
            await house.noted(token)
            token += b"%d" % number


async def test_the_end_of_a_question_makes_room_for_a_request_that_waits(sockets: Path) -> None:
    async with House(sockets) as house:
        server = {"address": house.main.server.address, "max_conns": 1}
        house.config["pools"]["main"] = {"servers": [server], "queue": {"number": 5}}
        house.config["routes"].insert(0, {"name": "main", "location": "/main", "pool": "main"})
        async with Proxy(house.config) as proxy:
            token = house.token(b"alice")
            first = await proxy.client(sync(token))
            asked, _ = await house.main.request()
            second = await proxy.client(b"GET /main HTTP/1.1\r\nHost: x\r\n\r\n")
            await becomes_true(lambda: proxy.generation.pools["main"].lobby is not None)
            await asked.answer(names(b"@alice:example.org"))
            peer, head = await house.main.request()
            assert head.startswith(b"GET /main ")
            await peer.answer(b"main")
            assert await second.received() == (200, b"main")
            first.close()


async def test_a_connection_that_was_closed_while_idle_costs_no_answer(sockets: Path) -> None:
    async with House(sockets) as house:
        client = await house.proxy.client()
        token = house.token(b"alice")
        await house.goes_to(client, sync(token), house.home_of_token(token))
        asked, _ = await house.main.request()
        await asked.answer(names(b"@alice:example.org"))
        await house.noted(token)
        token += b"x"
        await house.goes_to(client, sync(token), house.home_of_token(token))
        asked, _ = await house.main.request()
        asked.close()
        asked, _ = await house.main.request()
        await asked.answer(names(b"@alice:example.org"))
        await house.noted(token)
        await house.goes_to(client, sync(token), house.home(b"alice"))
        assert house.main.server.accepted == 2


async def test_a_401_ends_what_was_known_of_a_token(sockets: Path) -> None:
    async with House(sockets) as house:
        token = house.token(b"alice")
        client = await house.proxy.client()
        await house.goes_to(client, sync(token), house.home_of_token(token))
        asked, _ = await house.main.request()
        await asked.answer(names(b"@alice:example.org"))
        await house.noted(token)
        await house.goes_to(client, sync(token), house.home(b"alice"), DENIED)
        await house.goes_to(client, sync(token), house.home_of_token(token), DENIED)
        asked, _ = await house.main.request()
        await asked.send(DENIED)
        await house.noted(token)
        for _ in range(3):  # nobody's token is not asked about at each refusal
            await house.goes_to(client, sync(token), house.home_of_token(token), DENIED)
        house.proxy.pass_time(UNKNOWN_TTL + 1)
        await house.goes_to(client, sync(token), house.home_of_token(token), DENIED)
        await house.main.request()


async def test_an_answer_holds_for_its_time_and_is_then_asked_for_again(sockets: Path) -> None:
    async with House(sockets) as house:
        token = house.token(b"alice")
        client = await house.proxy.client()
        await house.goes_to(client, sync(token), house.home_of_token(token))
        asked, _ = await house.main.request()
        await asked.answer(names(b"@alice:example.org"))
        await house.noted(token)
        house.proxy.pass_time(TTL - 50)
        client = await house.proxy.client()
        await house.goes_to(client, sync(token), house.home(b"alice"))
        house.proxy.pass_time(50)
        for _ in range(2):  # at home all the while
            await house.goes_to(client, sync(token), house.home(b"alice"))
        asked, _ = await house.main.request()
        await asked.answer(names(b"@alice:example.org"))
        await house.noted(token)
        await house.goes_to(client, sync(token), house.home(b"alice"))


async def test_a_bridge_is_asked_about_once_for_all_its_users(sockets: Path) -> None:
    async with House(sockets) as house:
        token = b"as_" + CANARY
        client = await house.proxy.client()
        request = sync(token)
        await house.goes_to(client, request, house.home_of_token(token))
        asked, _ = await house.main.request()
        await asked.answer(b'{"user_id": "@bridge:example.org", "is_guest": false}')
        await house.noted(token)
        await house.goes_to(client, request, house.home(b"bridge"))
        for user in (b"irc_a", b"irc_b", b"irc_c"):
            request = sync(token, b"?user_id=@%b:example.org" % user)
            await house.goes_to(client, request, house.home(user))
        assert house.main.server.accepted == 1


async def test_tokens_of_synapses_own_are_not_asked_about(sockets: Path) -> None:
    async with House(sockets) as house:
        client = await house.proxy.client()
        for device in (b"a", b"b"):
            await house.goes_to(client, sync(b"syt_YWxpY2U_%b_x" % device), house.home(b"alice"))
        assert house.main.server.accepted == 0
        assert len(house.owners) == 0


async def test_the_books_stay_within_their_bound(sockets: Path) -> None:
    async with House(sockets, whoami_entries=20) as house:
        client = await house.proxy.client()
        for number in range(60):
            token = b"mat_%d" % number
            await house.goes_to(client, sync(token), house.home_of_token(token))
            asked, _ = await house.main.request()
            await asked.answer(names(b"@u%d:example.org" % number))
            await house.noted(token)
            assert len(house.owners) <= 20


async def test_a_reload_keeps_what_is_known(sockets: Path) -> None:
    async with House(sockets) as house:
        token = house.token(b"alice")
        client = await house.proxy.client()
        await house.goes_to(client, sync(token), house.home_of_token(token))
        asked, _ = await house.main.request()
        config = house.proxy.generation.config
        old = house.proxy.generation
        house.proxy.generation = Generation(config, house.proxy.wheel, old)
        house.proxy.handler.use(house.proxy.generation)
        old.retire()
        await asked.answer(names(b"@alice:example.org"))  # to what the old one had asked
        await house.noted(token)
        await house.goes_to(client, sync(token), house.home(b"alice"))
        assert house.main.server.accepted == 1
        shorter = config.model_copy(
            update={"synapse": config.synapse.model_copy(update={"whoami_ttl": 5.0})}
        )
        assert Generation(shorter, house.proxy.wheel, old).users.owners is not house.owners


async def test_a_token_is_written_nowhere(sockets: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with House(sockets) as house:
        token = house.token(b"alice")
        with caplog.at_level(logging.DEBUG):
            client = await house.proxy.client()
            await house.goes_to(client, sync(token), house.home_of_token(token))
            asked, _ = await house.main.request()
            await bad_gateway(house, asked)
            await house.noted(token)
            house.proxy.pass_time(FAILED_TTL + 1)
            await house.goes_to(client, sync(token), house.home_of_token(token))
            asked, _ = await house.main.request()
            await asked.send(DENIED)
            digest = token_digest(token)
            await becomes_true(lambda: "says whose tokens are again" in caplog.text)
        assert house.owners.find(digest)[1]
        records = await house.proxy.logged(2)
        assert CANARY.decode() not in caplog.text + repr(records)
        assert CANARY.decode() not in repr(house.owners) + repr(house.proxy.generation.users)
