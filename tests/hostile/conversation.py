"""One hostile request, sent to synproxy in memory, whole or in pieces."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from tests.hostile.judge import Outcome, outcome, requests_by_address
from tests.hostile.memory import Upstream, World
from tests.hostile.readers import AmbiguousError, canonical

CLIENT: Final = b"192.0.2.1"

CONFIG: Final = {
    "http": {"keepalive_timeout": 5, "client_header_timeout": 5, "client_body_timeout": 5},
    "proxy": {
        "set_header": {
            "Host": "$host",
            "X-Forwarded-For": "$remote_addr",
            "X-Forwarded-Proto": "$scheme",
        }
    },
    "pools": {"pool": {"servers": ["unix:/server"]}},
    "routes": [{"name": "all", "location": "/", "pool": "pool"}],
    "access_log": "off",
}
"""As an admin's, but nothing lasts long."""


def serve(upstream: Upstream, stream: bytes) -> None:
    """Answer each request that has become whole."""
    try:
        read = canonical(stream)
    except AmbiguousError:
        return  # the judge sees it too
    whole = [message for _, message in read if message.body is not None]
    answered = getattr(upstream, "answered", 0)
    upstream.answered = len(whole)  # type: ignore[attr-defined]
    for message in whole[answered:]:
        body = b"" if message.method == b"HEAD" else b"{}"
        upstream.answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def whole(raw: bytes) -> list[bytes]:
    return [raw]


def bytewise(raw: bytes) -> list[bytes]:
    return [raw[at : at + 1] for at in range(len(raw))]


def linewise(raw: bytes) -> list[bytes]:
    """Cut behind each CR, where a reader may believe that a line has ended."""
    return re.findall(rb"[^\r]*\r|[^\r]+", raw)


CUTS: Final = (whole, bytewise, linewise)


async def converse(world: World, pieces: Sequence[bytes], name: str) -> Outcome:
    """Send a request on a new connection, and wait until that is over.

    :raises AssertionError: a promise is broken; the message begins with ``name``.
    """
    world.records.clear()
    world.upstreams = [one for one in world.upstreams if not one.closed]
    carried = {id(one): len(one.written) for one in world.upstreams}
    client = world.connect(CLIENT.decode())
    await world.send(client, pieces)
    if not client.closed:
        await world.pass_time(12)
    streams = [bytes(one.written[carried.get(id(one), 0) :]) for one in world.upstreams]
    try:
        requests = requests_by_address(streams)
        assert set(requests) <= {CLIENT}, f"X-Forwarded-For: {list(requests)}"
        result = outcome(
            requests.get(CLIENT, []),
            bytes(client.written),
            [(record.method, record.status) for record in world.records],
            closed=client.closed,
        )
    except AssertionError as error:
        raise AssertionError(f"{name}, in {len(pieces)} pieces: {error}") from error
    assert client.closed, f"{name}: open for ever"
    return result
