"""Clients and servers around synproxy's data path, and what must be true after each thing they do.

The state machine plays with it at random; a finding becomes a short test that plays it by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from synproxy.core.limits import BODY_HIGH_WATER, PIPELINED
from synproxy.downstream.connection import ClientConnection
from synproxy.observe.metrics import Metrics
from synproxy.proxy.exchange import Exchange
from tests.fuzz.messages import (
    Answer,
    Ask,
    Attempt,
    Malformed,
    Reply,
    payload_of,
    read_answer,
)
from tests.fuzz.wires import HIGH_WATER, READ_SIZE, Knock, PeerWire, ServerWire, Simulation
from tests.hostile.readers import fields_of

MAX_BODY: Final = 100_000
HTTP: Final = {
    "keepalive_timeout": 15,
    "client_header_timeout": 10,
    "client_body_timeout": 10,
    "send_timeout": 10,
    "lingering_timeout": 5,
    "client_max_body_size": MAX_BODY,
}
PROXY: Final = {
    "connect_timeout": 2,
    "read_timeout": 30,
    "send_timeout": 20,
    "set_header": {"Host": "$host", "X-Forwarded-For": "$remote_addr"},
}
_HEAD_ROOM: Final = 4096
_QUIET: Final = 120.0
"""Seconds after which nothing may be left of a client that says nothing."""


@dataclass
class Settings:
    """What differs from one scene to the next."""

    servers: int = 2
    keepalive: int = 8
    max_conns: int = 0
    queue: bool = False
    max_fails: int = 0
    restart_hold: int = 0
    health_check: bool = False
    next_upstream: tuple[str, ...] = ("error", "timeout")
    ignore_client_abort: bool = False
    logged: bool = True
    prompt: bool = False
    """Servers take every connection at once."""

    def config(self) -> dict[str, Any]:
        servers = [
            {
                "address": f"unix:/{number}",
                "max_conns": self.max_conns,
                "max_fails": self.max_fails,
            }
            for number in range(self.servers)
        ]
        pool: dict[str, Any] = {
            "servers": servers,
            "keepalive": self.keepalive,
            "restart_hold": self.restart_hold,
        }
        if self.queue:
            pool["queue"] = {"number": 3, "timeout": 5}
        if self.health_check:
            pool["health_check"] = {"path": "/health"}
        proxy: dict[str, Any] = {
            **PROXY,
            "next_upstream": list(self.next_upstream) or "off",
            "ignore_client_abort": self.ignore_client_abort,
        }
        return {
            "http": HTTP,
            "proxy": proxy,
            "pools": {"pool": pool},
            "routes": [{"name": "all", "location": "/", "pool": "pool"}],
            "access_log": "off",
        }


@dataclass(eq=False)
class ClientSide:
    """A client, what it has sent, and what it has understood."""

    number: int
    wire: PeerWire
    asks: list[Ask] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    """Where each request ends in ``stream``."""
    stream: bytes = b""
    sent: int = 0
    at: int = 0
    answers: list[Answer] = field(default_factory=list)
    partial: Answer | None = None
    tunnel: ServerSide | None = None
    gone: bool = False
    finished: bool = False
    """It has half-closed."""
    seen_closed: bool = False

    @property
    def address(self) -> bytes:
        return b"192.0.2.%d" % self.number

    @property
    def waiting(self) -> Ask | None:
        """The request whose answer is next."""
        place = len(self.answers)
        return self.asks[place] if place < len(self.asks) else None

    def delivered(self, ask: Ask) -> int:
        """How many bytes of a request were sent."""
        place = self.asks.index(ask)
        start = self.ends[place - 1] if place else 0
        return max(0, min(self.sent, self.ends[place]) - start)


@dataclass(eq=False)
class ServerSide:
    """A server's end of one connection."""

    wire: ServerWire
    attempts: list[Attempt] = field(default_factory=list)
    at: int = 0
    """Where the current request begins in what was written."""
    trusted: bool = True
    """Whether another request may come on it."""
    tunnel_out: bytes = b""
    tunnel: bool = False
    ended: bool = False

    @property
    def current(self) -> Attempt | None:
        """The request that is not answered whole."""
        last = self.attempts[-1] if self.attempts else None
        return None if last is None or last.done else last


class Scene:
    """One play. Every method that does something returns once all that follows has happened."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda loop, context: self.errors.append(context))
        self.errors: list[Mapping[str, Any]] = []
        self.simulation = Simulation(settings.config())
        self.clients: list[ClientSide] = []
        self.servers: list[ServerSide] = []
        self.asks: dict[bytes, tuple[ClientSide, Ask]] = {}
        self.attempts: dict[int, Attempt] = {}
        self.failed = False
        self.troubles = 0
        """What went wrong so far that may explain an error."""
        self._run(self.simulation.__aenter__())
        handler = self.simulation.handler
        handler.count_in(Metrics(self.loop.time))
        if not settings.logged:
            handler.log_to(None)

    def _run(self, action: Coroutine[Any, Any, Any]) -> None:
        self.loop.run_until_complete(action)

    def _do(self, action: Callable[..., object], *arguments: object) -> None:
        self.failed = True

        async def act() -> None:
            action(*arguments)
            await self._settle()

        self._run(act())
        self.check()

    async def _settle(self) -> None:
        await self.simulation.settle()
        while self.settings.prompt and self.knocks:
            for knock in self.knocks:
                self.servers.append(ServerSide(self.simulation.accept(knock)))
            await self.simulation.settle()

    # --- clients

    def connect(self) -> ClientSide:
        """A client arrives."""
        number = len(self.clients) + 1

        def arrive() -> None:
            wire = self.simulation.arrive(f"192.0.2.{number}")
            self.clients.append(ClientSide(number, wire))

        self._do(arrive)
        return self.clients[-1]

    def ask(self, client: ClientSide, **request: Any) -> Ask:
        """A client makes up its next request, of which nothing is sent yet."""
        path = b"/c%d/%d" % (client.number, len(client.asks))
        ask = Ask(path, **request)
        client.asks.append(ask)
        client.stream += ask.raw()
        client.ends.append(len(client.stream))
        self.asks[path] = client, ask
        return ask

    def send(self, client: ClientSide, count: int) -> None:
        """Some more bytes of its requests."""
        piece = client.stream[client.sent : client.sent + count]
        client.sent += len(piece)
        if piece:
            self._do(client.wire.receive, piece)

    def hang_up(self, client: ClientSide) -> None:
        """The client resets the connection."""
        client.gone = True
        self._do(client.wire.reset)

    def half_close(self, client: ClientSide) -> None:
        """The client sends FIN."""
        client.finished = True
        self._do(client.wire.end)

    # --- servers

    @property
    def knocks(self) -> list[Knock]:
        return [knock for knock in self.simulation.knocks if knock.open]

    def accept(self, knock: Knock) -> None:
        """A server takes a connection."""

        def act() -> None:
            self.servers.append(ServerSide(self.simulation.accept(knock)))

        self._do(act)

    def refuse(self, knock: Knock, number: int) -> None:
        """A server refuses one."""
        self.troubles += 1
        self._do(self.simulation.refuse, knock, number)

    def reply(self, server: ServerSide, reply: Reply) -> None:
        """A server makes up its answer, of which nothing is sent yet."""
        attempt = server.current
        assert attempt is not None
        attempt.reply = reply
        if reply.broken:
            self.troubles += 1
        if not reply.keeps or not attempt.whole:
            server.trusted = False
        if reply.status == 101 and not reply.broken:
            server.tunnel = True

    def emit(self, server: ServerSide, count: int) -> None:
        """Some more bytes of the answer."""
        attempt = server.current
        assert attempt is not None
        assert attempt.reply is not None
        piece = attempt.reply.raw[attempt.sent : attempt.sent + count]
        attempt.sent += len(piece)
        self._do(server.wire.receive, piece)

    def emit_with_surplus(self, server: ServerSide) -> None:
        """All of the answer, and more, in one read."""
        attempt = server.current
        assert attempt is not None
        assert attempt.reply is not None
        reply = attempt.reply
        self.troubles += 1
        server.trusted = False
        attempt.sent = len(reply.raw)
        if reply.framing == "close":
            reply.body += b"surplus"
            reply.raw += b"surplus"
            attempt.sent = len(reply.raw)
            self._do(server.wire.receive, reply.raw)
        else:
            self._do(server.wire.receive, reply.raw + b"surplus")

    def tunnel_emit(self, server: ServerSide, data: bytes) -> None:
        """Bytes of the tunnel."""
        server.tunnel_out += data
        self._do(server.wire.receive, data)

    def surplus(self, server: ServerSide) -> None:
        """Bytes that nobody asked for."""
        self.troubles += 1
        server.trusted = False
        attempt = server.current
        if attempt is not None:
            attempt.reply = Reply(0, "none", b"", b"", b"", False, broken=True)
        self._do(server.wire.receive, b"surplus\r\n\r\n")

    def end(self, server: ServerSide) -> None:
        """FIN of a server."""
        self.troubles += 1
        server.trusted = False
        server.ended = True
        self._do(server.wire.end)

    def reset(self, server: ServerSide) -> None:
        """RST of a server."""
        self.troubles += 1
        server.trusted = False
        self._do(server.wire.reset)

    # --- both, and time

    def stop_reading(self, wire: PeerWire) -> None:
        """A peer is slow from now on."""
        wire.stop_reading()

    def read_on(self, wire: PeerWire) -> None:
        """It has caught up."""
        self._do(wire.read_on)

    def pass_time(self, seconds: float) -> None:
        """Deadlines pass."""
        if seconds >= 1:
            self.troubles += 1
        self.failed = True

        async def act() -> None:
            await self.simulation.pass_time(seconds)
            await self._settle()

        self._run(act())
        self.check()

    def reload(self, settings: Settings) -> None:
        """Another configuration."""
        self.settings = settings
        self._do(self.simulation.reload, settings.config())

    # --- what must be true

    def check(self) -> None:
        """After each step."""
        self.failed = True
        self._check()
        self.failed = False

    def _check(self) -> None:
        assert not self.errors, self.errors
        for client in self.clients:
            self._listen_to(client)
        for server in self.servers:
            self._look_at(server)
        for client in self.clients:
            self._check_close(client)
            self._check_bounds(client)
        for server in self.servers:
            room = HIGH_WATER + 2 * READ_SIZE + BODY_HIGH_WATER + _HEAD_ROOM
            assert server.wire.held <= room, server.wire.held

    def _look_at(self, server: ServerSide) -> None:
        """What a server got: one request after the other, each a client's own."""
        data = bytes(server.wire.written)
        while len(data) > server.at:
            if server.attempts and server.attempts[-1].whole:
                attempt = server.attempts[-1]
                if server.tunnel and attempt.begun:
                    self._check_tunnel(attempt, data[server.at :])
                    return
                assert attempt.done, "a request while another one is in progress"
                assert server.trusted, "a request on a connection that cannot be trusted"
            if not server.attempts or server.attempts[-1].whole:
                server.attempts.append(self._new_attempt(server, data))
            if not self._read_request(server, server.attempts[-1], data):
                return

    def _new_attempt(self, server: ServerSide, data: bytes) -> Attempt:
        head, end, _ = data[server.at :].partition(b"\r\n\r\n")
        assert end, head
        line, _, _ = head.partition(b"\r\n")
        method, path, version = line.split(b" ")
        assert version == b"HTTP/1.1"
        attempt = Attempt(len(self.attempts) + 1, None, request=head + end)
        self.attempts[attempt.number] = attempt
        server.at += len(attempt.request)
        if path == b"/health":
            return attempt
        client, ask = self.asks[path]
        assert method == ask.method
        fields = fields_of(head)
        forwarded = [value for name, value in fields if name == b"x-forwarded-for"]
        assert forwarded == [client.address], forwarded
        if client.wire.reads and not client.gone:
            assert client.asks.index(ask) <= len(client.answers), (
                "a request before the one before it"
            )
        if ask.attempts:
            assert ask.idempotent, "a POST that is sent twice"
            assert client.partial is None, "a repeated request, though an answer had begun"
            for other in self.servers:
                if any(one in ask.attempts for one in other.attempts):
                    assert other.wire.closed, "a request on two connections"
        attempt.ask = ask
        ask.attempts.append(attempt)
        return attempt

    def _read_request(self, server: ServerSide, attempt: Attempt, data: bytes) -> bool:
        """Whether the request is whole."""
        fields = dict(fields_of(attempt.request[:-4]))
        body = data[server.at :]
        ask = attempt.ask
        if ask is None:
            attempt.whole = True
            return True
        assert (b"content-length" in fields) == (ask.framing == "length")
        assert (b"transfer-encoding" in fields) == (ask.framing == "chunked")
        client, _ = self.asks[ask.path]
        sent = client.delivered(ask)
        if ask.framing == "chunked":
            payload = payload_of(body, "chunked")
            last = body.find(b"\r\n0\r\n\r\n")
            size = last + 7 if last >= 0 else (5 if body.startswith(b"0\r\n\r\n") else -1)
        else:
            size = int(fields.get(b"content-length", b"0"))
            payload = body[:size]
            if len(body) < size:
                size = -1
        assert ask.body.startswith(payload), "a body that is not the client's"
        if size < 0:
            return False
        assert not ask.refused, "a request that should not be forwarded"
        assert payload == ask.body, "a body that is cut"
        assert sent == len(ask.raw()), "a request that the client has not sent"
        attempt.whole = True
        server.at += size
        return True

    def _check_tunnel(self, attempt: Attempt, data: bytes) -> None:
        assert attempt.ask is not None
        client, ask = self.asks[attempt.ask.path]
        start = client.ends[client.asks.index(ask)]
        assert client.stream[start : client.sent].startswith(data), "a tunnel with other bytes"

    def _listen_to(self, client: ClientSide) -> None:
        """What a client got: the answers to its requests, in order, as servers gave them."""
        data = client.wire.taken
        while True:
            if client.tunnel is not None:
                assert client.tunnel.tunnel_out.startswith(data[client.at :]), "a tunnel's bytes"
                return
            ask = client.waiting
            if ask is None or not client.delivered(ask):
                assert len(data) == client.at, f"an answer to nothing: {data[client.at :][:200]!r}"
                return
            known = client.delivered(ask) >= len(ask.head())
            answer = read_answer(data, client.at, ask.method if known else b"")
            client.partial = answer
            if answer is None:
                self._check_progress(client, ask, None)
                return
            if answer.status == 100:
                assert ask.expect, "100 (Continue) that nobody expects"
                client.at = answer.end
                continue
            if answer.framing == "close":
                wire = client.wire
                ended = wire.closed and not wire.aborted and not client.gone
                answer.complete = ended or wire.eof_written
            self._judge(client, ask, answer)
            if not answer.complete:
                self._check_progress(client, ask, answer)
                return
            client.at = answer.end
            client.answers.append(answer)
            client.partial = None
            if answer.status == 101:
                client.tunnel = next(
                    one for one in self.servers if ask.attempts[-1] in one.attempts
                )

    def _judge(self, client: ClientSide, ask: Ask, answer: Answer) -> None:
        number = answer.attempt
        if number is None:
            self._judge_own(client, ask, answer)
            return
        assert ask.attempts, "an answer to a request that no server has"
        attempt = ask.attempts[-1]
        assert attempt.number == number, "an answer to another attempt, or another's answer"
        reply = attempt.reply
        assert reply is not None
        assert attempt.begun
        assert answer.status == reply.status
        payload = attempt.payload()
        assert payload.startswith(answer.body), "a body that is not the server's"
        if ask.minor:
            assert answer.framing != "close", "HTTP/1.1 without the length of its body"
        if answer.complete and answer.framing != "none":
            assert not reply.broken, "a broken answer passed on as a whole one"
            assert answer.body == payload, "an answer that is completed without its end"
            server = next(one for one in self.servers if attempt in one.attempts)
            assert attempt.done or (reply.framing == "close" and server.ended), "cut, but complete"

    def _judge_own(self, client: ClientSide, ask: Ask, answer: Answer) -> None:
        """An answer of synproxy's own needs a reason."""
        status = answer.status
        if answer.complete and answer.body:
            assert answer.body.startswith(b'{"errcode": "M_'), answer.body
        if status == 400:
            assert ask.refused
        elif status == 413:
            assert len(ask.body) > MAX_BODY
        elif status == 408:
            assert client.delivered(ask) < len(ask.raw())
            assert self.troubles
        elif status == 429:
            assert self.settings.max_conns
        else:
            assert status in (502, 503, 504), status
            assert self.troubles

    def _check_progress(self, client: ClientSide, ask: Ask, answer: Answer | None) -> None:
        """What a server has said must have reached the client, if nobody holds it up."""
        if client.wire.closed or not client.wire.reads or not ask.attempts:
            return
        attempt = ask.attempts[-1]
        server = next(one for one in self.servers if attempt in one.attempts)
        reply = attempt.reply
        if reply is None or reply.broken or server.wire.closed or server.wire.waiting:
            return
        if attempt.begun:
            assert answer is not None, "an answer that is held back"
            assert not attempt.done, "an answer without its end"
            assert answer.body == attempt.payload(), "a part of an answer that is held back"

    def _check_close(self, client: ClientSide) -> None:
        """A connection that ends without a word must not lose a request."""
        wire = client.wire
        if client.seen_closed or not wire.closed:
            return
        client.seen_closed = True
        ask = client.waiting
        if client.gone or client.finished or wire.aborted or client.tunnel is not None:
            return
        if ask is None or client.partial is not None or wire.held:
            return
        if client.answers and client.answers[-1].closes:
            return
        if client.answers and client.asks[len(client.answers) - 1].close:
            return
        assert client.delivered(ask) < len(ask.head()), "closed instead of an answer"

    def _check_bounds(self, client: ClientSide) -> None:
        protocol = client.wire.protocol
        assert isinstance(protocol, ClientConnection)
        assert len(protocol._buffer) <= PIPELINED + READ_SIZE
        assert client.wire.held <= HIGH_WATER + READ_SIZE + _HEAD_ROOM, client.wire.held
        exchange = protocol.exchange
        if isinstance(exchange, Exchange) and exchange._body:
            kept = sum(map(len, exchange._body))
            assert kept <= BODY_HIGH_WATER + 2 * READ_SIZE, kept

    # --- the end

    def finish(self, answer: Callable[[Attempt], Reply]) -> None:
        """Everybody becomes well-behaved; then everybody leaves, and nothing may be left."""
        for client in self.clients:
            self.read_on(client.wire)
            if not client.finished and not client.gone:
                self.send(client, len(client.stream))
        for server in self.servers:
            self.read_on(server.wire)
        self._serve_for(_QUIET, answer)
        for client in self.clients:
            assert client.wire.closed, "a client that waits for ever"
        self._check_records()
        self._run(self._leave())
        assert not self.errors, self.errors

    def _serve_for(self, seconds: float, answer: Callable[[Attempt], Reply]) -> None:
        """Servers take every connection, and answer every request that they have whole."""
        for _ in range(int(seconds)):
            busy = True
            while busy:
                busy = False
                while self.knocks:
                    self.accept(self.knocks[0])
                    busy = True
                for server in self.servers:
                    attempt = server.current
                    if attempt is None or server.wire.closed or server.ended:
                        continue
                    if attempt.reply is None and attempt.whole:
                        self.reply(server, answer(attempt))
                    reply = attempt.reply
                    if reply is not None and attempt.sent < len(reply.raw):
                        self.emit(server, len(reply.raw))
                        busy = True
                    elif reply is not None and reply.framing in ("close", "tunnel"):
                        self.end(server)
                        busy = True
            self.pass_time(1)

    def _check_records(self) -> None:
        """Each request has one line in the log."""
        if not self.settings.logged:
            return
        records = [record for record in self.simulation.records if record.target in self.asks]
        targets = [record.target for record in records]
        assert len(targets) == len(set(targets)), "two lines for one request"
        by_target = {record.target: record for record in records}
        for client in self.clients:
            for ask, answer in zip(client.asks, client.answers, strict=False):
                if ask.refused and ask.path not in by_target:
                    continue
                assert by_target[ask.path].status == answer.status

    async def _leave(self) -> None:
        simulation = self.simulation
        generation = simulation.generation
        await simulation.__aexit__(None, None, None)
        for server in self.servers:
            assert server.wire.closed, "a connection that is left open"
        await simulation.pass_time(1)
        for pool in generation.pools.values():
            assert not pool.idle_connections
            assert not pool.balancer.in_use, "a place that is never given back"
            assert pool.lobby is None
        assert not simulation.handler.connections
        left = [item for slot in simulation.wheel._slots for item in slot]
        assert len(simulation.wheel) == 0, left
        assert len(asyncio.all_tasks()) == 1, asyncio.all_tasks()

    def close(self) -> None:
        """Give back what the play has taken; harmless to repeat."""
        if self.loop.is_closed():
            return
        import synproxy.upstream.pool

        synproxy.upstream.pool._open_unix = self.simulation._open_unix
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()


__all__ = ["Malformed", "Scene", "Settings"]
