"""Every collected hostile request over sockets: a synproxy process, a server that records, and
hundreds of clients at a time, each from an address of its own."""

from __future__ import annotations

import asyncio
import json
import resource
from collections import defaultdict
from pathlib import Path
from typing import Final

import pytest

from tests.hostile.corpus import HostileRequest, hostile_requests
from tests.hostile.judge import Outcome, outcome, requests_by_address
from tests.hostile.readers import AmbiguousError, canonical
from tests.hostile.report import request_outcomes
from tests.support.synproxy import Synproxy

CONFIGURATION: Final = """\
listeners: ["127.0.0.1:@PORT@"]
http:
  keepalive_timeout: 500ms
  client_header_timeout: 1s
  client_body_timeout: 1s
  lingering_timeout: 500ms
proxy:
  set_header: {Host: $host, X-Forwarded-For: $remote_addr, X-Forwarded-Proto: $scheme}
pools:
  pool: {servers: ["unix:@RUN@/server.sock"]}
routes:
  - {name: all, location: /, pool: pool}
access_log: {path: "@RUN@/access.log", format: json}
"""
AT_ONCE: Final = 300
WAIT: Final = 30.0


class ServerSide(asyncio.Protocol):
    """Keeps all that one connection carries, and answers each request that is whole."""

    transport: asyncio.Transport

    def __init__(self, all_of_them: list[ServerSide]) -> None:
        self.stream = bytearray()
        self.begun = 0
        """Where the request that is on its way begins."""
        all_of_them.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.stream += data
        try:
            read = canonical(bytes(self.stream[self.begun :]))
        except AmbiguousError:
            return  # a head in two reads, or the judge sees it too
        if read[-1][1].body is None:
            return
        self.begun = len(self.stream)
        for _, message in read:
            body = b"" if message.method == b"HEAD" else b"{}"
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )


def address_of(number: int) -> str:
    return f"127.7.{number >> 8}.{number & 255}"


async def send(port: int, number: int, raw: bytes, places: asyncio.Semaphore) -> bytes:
    """Send one message, and read until synproxy closes."""
    async with places:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, local_addr=(address_of(number), 0)
        )
        writer.write(raw)
        try:
            return await asyncio.wait_for(reader.read(-1), WAIT)
        finally:
            writer.transport.abort()


async def send_all(proxy: Synproxy, directory: Path) -> tuple[list[bytes], list[bytes]]:
    """What each client got, and what each server connection carried."""
    sides: list[ServerSide] = []
    loop = asyncio.get_running_loop()
    listening = await loop.create_unix_server(
        lambda: ServerSide(sides), str(directory / "server.sock")
    )
    places = asyncio.Semaphore(AT_ONCE)
    with proxy:
        answers = await asyncio.gather(
            *(
                send(proxy.port, number, case.raw, places)
                for number, case in enumerate(hostile_requests())
            )
        )
    listening.close()
    for side in sides:
        side.transport.abort()
    await asyncio.sleep(0)
    return answers, [bytes(side.stream) for side in sides]


@pytest.fixture(scope="module", autouse=True)
def descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_running_synproxy_does_the_same(sockets: Path, loop: str) -> None:
    proxy = Synproxy(sockets, CONFIGURATION, loop=loop)
    answers, streams = asyncio.run(send_all(proxy, sockets))
    requests = requests_by_address(streams)
    log = defaultdict(list)
    for line in (sockets / "access.log").read_text().splitlines():
        record = json.loads(line)
        log[record["remote_addr"]].append((record["method"].encode(), record["status"]))
    found: dict[HostileRequest, Outcome] = {}
    for number, case in enumerate(hostile_requests()):
        address = address_of(number)
        got = requests.get(address.encode(), [])
        found[case] = outcome(got, answers[number], log[address], closed=True)
    expected = request_outcomes()["whole"]
    for case, result in found.items():
        assert result.statuses == expected[case].statuses, case
        assert result.served == expected[case].served, case
