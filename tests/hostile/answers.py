"""One hostile answer of a server, whole or in pieces, and what comes after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import h11

from tests.hostile.conversation import CONFIG
from tests.hostile.memory import Upstream, World
from tests.hostile.readers import canonical

FIRST: Final = b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n"
NEXT: Final = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
FRESH: Final = b"GET /fresh HTTP/1.1\r\nHost: a\r\n\r\n"

ANSWER_CONFIG: Final = {
    **CONFIG,
    "proxy": {"read_timeout": 5, "next_upstream": "off"},
    "maps": {"connection_upgrade": {"source": "$http_upgrade", "values": {"": ""}}},
}


@dataclass(frozen=True, slots=True)
class Fate:
    """``status``: what the client got first, 0 for nothing. ``whole``: it can tell that this was
    all. ``body``: as far as it came. ``kept``: the server connection was used again."""

    status: int
    whole: bool
    body: bytes
    kept: bool

    @property
    def verdict(self) -> str:
        if self.status == 0:
            return "nothing, closed"
        if not self.whole:
            return "cut"
        if self.status in (502, 504) and self.body.startswith(b'{"errcode"'):
            return str(self.status)
        return "passed on"


class HostileServer:
    """Gives its answer to ``/first``, and to all other requests a good one that names them."""

    def __init__(self, pieces: Sequence[bytes], *, closes: bool) -> None:
        self.pieces = pieces
        self.closes = closes
        self.kept = False

    def __call__(self, upstream: Upstream, stream: bytes) -> None:
        read = [message for _, message in canonical(stream)]
        if len(read) <= getattr(upstream, "answered", 0):
            return
        upstream.answered = len(read)  # type: ignore[attr-defined]
        if read[-1].target == b"/first":
            upstream.answer(*self.pieces)
            if self.closes:
                upstream.end()
        else:
            self.kept = self.kept or read[0].target == b"/first"
            body = read[-1].target
            upstream.answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def fate(raw: bytes, cut: Callable[[bytes], list[bytes]], *, closes: bool) -> Fate:
    """Ask three times: the first gets the answer, then one behind it, one on a fresh connection.

    :raises AssertionError: one of the others got anything but its own answer.
    """
    server = HostileServer(cut(raw), closes=closes)
    async with World(ANSWER_CONFIG, server) as world:
        client = world.connect()
        await world.send(client, [FIRST])
        await world.pass_time(7)  # servers that fall silent are given up
        first = bytes(client.written)
        if not client.closed:
            await world.send(client, [NEXT])
            assert client.written[len(first) :].endswith(b"\r\n\r\n/next"), client.written
        fresh = world.connect()
        await world.send(fresh, [FRESH])
        assert fresh.written.startswith(b"HTTP/1.1 200 OK\r\n"), fresh.written
        assert fresh.written.endswith(b"\r\n\r\n/fresh"), fresh.written
        status, body, whole = _read(first, ended=client.closed and not client.aborted)
        assert all(record.status for record in world.records)
        # What is left is what is idle: the rest was dropped.
        assert sum(not one.closed for one in world.upstreams) == world.idle
        return Fate(status, whole, body, server.kept)


def _read(data: bytes, *, ended: bool) -> tuple[int, bytes, bool]:
    """Status, body and completeness of the one answer in ``data``.

    :raises AssertionError: it is followed by anything else, or is not well-formed.
    """
    if not data:
        return 0, b"", False
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/first", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    if ended:
        connection.receive_data(b"")
    status, body = 0, b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            if not ended:
                raise AssertionError(error) from error
            return status, body, False
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert not connection.trailing_data[0], connection.trailing_data
            return status, body, True
        else:
            return status, body, False


def strict_reading(raw: bytes) -> tuple[int, bytes] | None:
    """What h11 makes of a server's answer up to its end: status and body; None if it refuses it,
    or it never ends."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/first", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw)
    connection.receive_data(b"")
    status, body = 0, b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return None
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return status, body
        elif (
            event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed)
        ):
            return None
