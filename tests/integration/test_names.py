"""Names in pools, asked of a real name server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from synproxy.config.model import Config, Resolver
from synproxy.core.names import Found
from synproxy.upstream.dns import Lookup, LookupFailedError
from synproxy.upstream.resolver import Names
from tests.integration.harness import Peer, Proxy, becomes_true
from tests.support.name_server import NameServer, name_server

NAME = "workers.example.org:8008"
SERVICE = "_synapse._tcp.example.org"


def lookup(server: NameServer, **settings: Any) -> Lookup:
    return Lookup(Resolver.model_validate({"nameservers": [server.address], **settings}))


async def test_all_addresses_are_found_in_the_same_order_each_time() -> None:
    async with name_server() as server:
        server.records = {
            ("workers.example.org.", "A"): ["10.0.0.20", "10.0.0.3"],
            ("workers.example.org.", "AAAA"): ["2001:db8::1"],
        }
        answer = await lookup(server).ask(NAME)
        assert answer.found == (
            Found("10.0.0.3:8008", ("10.0.0.3",)),
            Found("10.0.0.20:8008", ("10.0.0.20",)),
            Found("[2001:db8::1]:8008", ("2001:db8::1",)),
        )
        assert answer.ttl == 60
        del server.asked[:]
        await lookup(server, ipv6=False).ask(NAME)
        assert {kind for _, kind in server.asked} == {"A"}


async def test_an_srv_name_gives_ports_weights_and_priorities() -> None:
    async with name_server() as server:
        server.records = {
            (SERVICE + ".", "SRV"): [
                "20 5 9003 spare.example.org.",
                "10 60 9001 Two.example.org.",
                "10 30 9002 one.example.org.",
                "10 30 9002 lost.example.org.",
            ],
            ("one.example.org.", "A"): ["10.0.0.1"],
            ("two.example.org.", "A"): ["10.0.0.2", "10.0.0.22"],
            ("spare.example.org.", "A"): ["10.0.0.3"],
        }
        answer = await lookup(server).ask(SERVICE)
        assert answer.found == (
            Found("one.example.org:9002", ("10.0.0.1",), 10, 30),
            Found("two.example.org:9001", ("10.0.0.2", "10.0.0.22"), 10, 60),
            Found("spare.example.org:9003", ("10.0.0.3",), 20, 5),
        )
        del server.records["one.example.org.", "A"]
        assert (await lookup(server).ask(SERVICE, answer.found)).found == answer.found


@pytest.mark.parametrize(
    ("records", "broken", "silent", "name", "reason"),
    [
        ({}, False, False, NAME, "there is no such name"),
        ({("workers.example.org.", "TXT"): ["x"]}, False, False, NAME, "it has no address"),
        ({("workers.example.org.", "A"): ["10.0.0.1"]}, True, False, NAME, "SERVFAIL"),
        ({}, False, True, NAME, "expired after 0."),
        ({}, False, False, SERVICE, "there is no such name"),
        ({(SERVICE + ".", "SRV"): ["0 0 0 ."]}, False, False, SERVICE, "no target"),
        ({(SERVICE + ".", "SRV"): ["0 0 1 a."]}, False, False, SERVICE, "no target"),
        ({(SERVICE + ".", "A"): ["10.0.0.1"]}, False, False, SERVICE, "no SRV records"),
    ],
)
async def test_what_cannot_be_said_has_a_reason(
    records: dict[tuple[str, str], list[str]], broken: bool, silent: bool, name: str, reason: str
) -> None:
    async with name_server() as server:
        server.records, server.broken, server.silent = records, broken, silent
        with pytest.raises(LookupFailedError, match=reason):
            await lookup(server, timeout="200ms").ask(name)


def config_with(server: NameServer, *names: str, **resolver: Any) -> Config:
    servers: list[Any] = [{"address": name, "resolve": True} for name in names]
    return Config.model_validate(
        {
            "listeners": ["8008"],
            "pools": {"pool": {"servers": servers or ["unix:/run/a.sock"]}},
            "routes": [{"name": "all", "location": "/", "pool": "pool"}],
            "resolver": {"nameservers": [server.address], "valid": "100ms", **resolver},
        }
    )


async def test_the_last_good_answer_holds_while_name_servers_fail(
    told: pytest.LogCaptureFixture,
) -> None:
    changes: list[tuple[Found, ...]] = []
    names = Names(lambda: changes.append(names.known[NAME]))
    async with name_server() as server:
        config = config_with(server, NAME)
        server.records = {("workers.example.org.", "A"): ["10.0.0.1"]}
        await names.learn(config)
        first = names.known[NAME]
        names.follow(config)
        server.broken = True
        await becomes_true(lambda: "cannot be resolved" in told.text)
        del server.asked[:]
        await becomes_true(lambda: len(server.asked) > 4)
        assert names.known[NAME] == first
        assert not changes
        server.broken = False
        server.records = {("workers.example.org.", "A"): ["10.0.0.1", "10.0.0.2"]}
        await becomes_true(lambda: bool(changes))
        names.close()
    assert [[one.address for one in change] for change in changes] == [
        ["10.0.0.1:8008", "10.0.0.2:8008"]
    ]
    assert told.text.count("cannot be resolved") == 1
    assert "SERVFAIL; the last answer holds" in told.text
    assert "the name workers.example.org:8008 can be resolved again" in told.text
    assert "has changed; new: 10.0.0.2:8008" in told.text


async def test_an_answer_is_kept_for_its_ttl() -> None:
    names = Names(lambda: None)
    async with name_server() as server:
        config = config_with(server, NAME, valid=None)
        server.records = {("workers.example.org.", "A"): ["10.0.0.1"]}
        names.follow(config)
        await becomes_true(lambda: NAME in names.known)
        asked = len(server.asked)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(server.asked) == asked
        names.follow(config_with(server))
        assert not names.known
        names.close()


class Workers:
    """Servers on several loopback addresses and one port, which say where they are."""

    def __init__(self) -> None:
        self.accepted: dict[str, int] = {}
        self._servers: list[asyncio.Server] = []
        self.port = 0

    async def start(self, *hosts: str) -> None:
        for host in hosts:
            self.accepted[host] = 0
            server = await asyncio.start_server(self._serve, host, self.port)
            self.port = server.sockets[0].getsockname()[1]
            self._servers.append(server)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = writer.get_extra_info("sockname")[0]
        self.accepted[host] += 1
        peer = Peer(reader, writer)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await peer.answer(host.encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def stop(self) -> None:
        for server in self._servers:
            server.close()


@asynccontextmanager
async def workers(*hosts: str) -> AsyncIterator[Workers]:
    found = Workers()
    await found.start(*hosts)
    yield found
    found.stop()


async def ask(client: Peer, key: int) -> str:
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Key: %d\r\n\r\n" % key)
    status, body = await client.received()
    assert status == 200, body
    return body.decode()


@pytest.mark.parametrize("service", [False, True])
async def test_requests_follow_a_name_and_keys_stay_with_their_servers(service: bool) -> None:
    hosts = {"one": "127.0.0.11", "two": "127.0.0.12", "three": "127.0.0.13"}
    async with name_server() as server, workers(*hosts.values()) as there:
        address = SERVICE if service else f"workers.example.org:{there.port}"

        def say(*names: str) -> None:
            server.records = {(f"{name}.example.org.", "A"): [hosts[name]] for name in names}
            server.records["workers.example.org.", "A"] = [hosts[name] for name in names]
            server.records[SERVICE + ".", "SRV"] = [
                f"0 0 {there.port} {name}.example.org." for name in names
            ]

        say("one", "two")
        config = config_with(server, address)
        names = Names(lambda: None)
        await names.learn(config)
        pool = {
            "servers": [{"address": address, "resolve": True}],
            "balance": {"hash": "$http_x_key"},
        }
        routes = [{"name": "all", "location": "/", "pool": "pool"}]
        async with Proxy({"pools": {"pool": pool}, "routes": routes}) as proxy:
            proxy.generation.resolve(names.known, proxy.handler.watches)
            client = await proxy.client()
            before = {key: await ask(client, key) for key in range(40)}
            assert set(before.values()) == {hosts["one"], hosts["two"]}
            opened = dict(there.accepted)

            say("one", "two", "three")
            names = Names(lambda: None)
            await names.learn(config)
            proxy.generation.resolve(names.known, proxy.handler.watches)
            after = {key: await ask(client, key) for key in range(40)}
            moved = {key for key in before if before[key] != after[key]}
            assert {after[key] for key in moved} == {hosts["three"]}
            assert 0 < len(moved) < 30
            # Idle connections to servers that stay are kept.
            assert there.accepted == {**opened, hosts["three"]: 1}

            say("one", "three")
            names = Names(lambda: None)
            await names.learn(config)
            proxy.generation.resolve(names.known, proxy.handler.watches)
            last = {key: await ask(client, key) for key in range(40)}
            assert all(last[key] == after[key] for key in range(40) if after[key] != hosts["two"])
            assert set(last.values()) == {hosts["one"], hosts["three"]}


async def test_a_request_under_way_is_not_disturbed_by_a_change() -> None:
    release = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await release.wait()
        await Peer(reader, writer).answer(b"old")
        await reader.read()
        writer.close()

    slow = await asyncio.start_server(serve, "127.0.0.11", 0)
    port = slow.sockets[0].getsockname()[1]
    name = f"workers.example.org:{port}"
    pool = {"servers": [{"address": name, "resolve": True}]}
    routes = [{"name": "all", "location": "/", "pool": "pool"}]
    async with Proxy({"pools": {"pool": pool}, "routes": routes}) as proxy:
        known = {name: (Found(f"127.0.0.11:{port}", ("127.0.0.11",)),)}
        proxy.generation.resolve(known, proxy.handler.watches)
        client = await proxy.client(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await becomes_true(lambda: proxy.generation.pools["pool"].balancer.in_use)
        known = {name: (Found(f"127.0.0.12:{port}", ("127.0.0.12",)),)}
        proxy.generation.resolve(known, proxy.handler.watches)
        release.set()
        assert await client.received() == (200, b"old")
    slow.close()


async def test_an_srv_name_that_was_never_resolved_is_502() -> None:
    pool = {"servers": [{"address": SERVICE, "resolve": True}]}
    routes = [{"name": "all", "location": "/", "pool": "pool"}]
    async with Proxy({"pools": {"pool": pool}, "routes": routes}) as proxy:
        client = await proxy.client(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.received())[0] == 502
