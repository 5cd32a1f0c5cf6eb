"""The state machine: Hypothesis decides what clients, servers and time do next."""

from __future__ import annotations

from dataclasses import replace
from errno import EACCES, ECONNREFUSED, ENOENT
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.fuzz.messages import Attempt, Reply, filling, reply_to, switch
from tests.fuzz.scene import ClientSide, Scene, ServerSide, Settings

_PLACE = st.integers(0, 7)
_SIZES = st.sampled_from([0, 1, 5, 300, 9_000, 70_000])
_CHUNKS = st.lists(st.sampled_from([1, 3, 100, 5_000, 66_000]), min_size=1, max_size=3)
_PIECE = st.sampled_from([1, 7, 60, 1_000, 20_000, 1_000_000])
_RARELY = st.sampled_from([False, False, False, False, True])
_OFTEN = st.sampled_from([True, True, True, False])
_SETTINGS = st.builds(
    Settings,
    servers=st.integers(1, 3),
    keepalive=st.sampled_from([8, 1, 0]),
    max_conns=st.sampled_from([0, 0, 1]),
    queue=st.booleans(),
    max_fails=st.sampled_from([0, 1]),
    restart_hold=st.sampled_from([0, 5]),
    health_check=st.booleans(),
    prompt=_OFTEN,
    next_upstream=st.sampled_from([("error", "timeout"), (), ("error", "invalid_header")]),
    ignore_client_abort=st.booleans(),
    logged=st.booleans(),
)


def plain_answer(attempt: Attempt) -> Reply:
    """What a well-behaved server answers."""
    return reply_to(
        attempt,
        status=200,
        framing="length",
        size=10,
        sizes=[10],
        keeps=True,
        interim=0,
        broken=False,
    )


class ProxyMachine(RuleBasedStateMachine):
    """Every rule is one thing that somebody does; the scene checks after each."""

    scene: Scene
    begun = False

    @initialize(settings=_SETTINGS)
    def begin(self, settings: Settings) -> None:
        self.scene = Scene(settings)
        self.begun = True

    # --- who can do something

    def _clients(self) -> list[ClientSide]:
        return [one for one in self.scene.clients if not one.gone and not one.wire.closed]

    def _senders(self) -> list[ClientSide]:
        return [one for one in self._clients() if not one.finished]

    def _with_more(self) -> list[ClientSide]:
        return [one for one in self._senders() if one.sent < len(one.stream)]

    def _servers(self) -> list[ServerSide]:
        return [one for one in self.scene.servers if not one.ended and not one.wire.closed]

    def _asked(self) -> list[ServerSide]:
        return [
            one for one in self._servers() if one.current is not None and one.current.reply is None
        ]

    def _answering(self) -> list[ServerSide]:
        return [
            one
            for one in self._servers()
            if one.current is not None
            and one.current.reply is not None
            and one.current.sent < len(one.current.reply.raw)
        ]

    def _tunnels(self) -> list[ServerSide]:
        return [
            one for one in self._servers() if one.tunnel and one.attempts and one.attempts[-1].begun
        ]

    # --- clients

    @precondition(lambda self: len(self._clients()) < 4)
    @rule()
    def client_connects(self) -> None:
        self.scene.connect()

    @precondition(lambda self: self._senders())
    @rule(
        place=_PLACE,
        method=st.sampled_from([b"GET", b"POST", b"PUT", b"HEAD", b"PATCH"]),
        minor=st.sampled_from([1, 1, 0]),
        framing=st.sampled_from(["none", "length", "chunked"]),
        size=_SIZES,
        sizes=_CHUNKS,
        expect=st.booleans(),
        close=_RARELY,
        upgrade=st.booleans(),
        broken=_RARELY,
        at_once=_OFTEN,
    )
    def client_asks(
        self,
        place: int,
        method: bytes,
        minor: int,
        framing: str,
        size: int,
        sizes: list[int],
        expect: bool,
        close: bool,
        upgrade: bool,
        broken: bool,
        at_once: bool,
    ) -> None:
        client = _one(self._senders(), place)
        if len(client.asks) >= 5:
            return
        body = filling(b"ask %d %d" % (client.number, len(client.asks)), size)
        if framing == "none":
            body = b""
        self.scene.ask(
            client,
            method=method,
            minor=minor,
            framing=framing,
            body=body,
            sizes=sizes,
            expect=expect and bool(minor) and bool(body),
            close=close,
            upgrade=upgrade and bool(minor) and not body and framing == "none",
            broken=broken and framing == "chunked" and bool(body),
        )
        if at_once:
            self.scene.send(client, len(client.stream))

    @precondition(lambda self: self._with_more())
    @rule(place=_PLACE, count=_PIECE)
    def client_sends(self, place: int, count: int) -> None:
        self.scene.send(_one(self._with_more(), place), count)

    @precondition(lambda self: self._clients())
    @rule(place=_PLACE, now=_RARELY)
    def client_hangs_up(self, place: int, now: bool) -> None:
        if not now:
            return
        self.scene.hang_up(_one(self._clients(), place))

    @precondition(lambda self: self._senders())
    @rule(place=_PLACE, now=_RARELY)
    def client_half_closes(self, place: int, now: bool) -> None:
        if not now:
            return
        self.scene.half_close(_one(self._senders(), place))

    @precondition(lambda self: self._clients())
    @rule(place=_PLACE)
    def client_stops_or_goes_on_reading(self, place: int) -> None:
        wire = _one(self._clients(), place).wire
        if wire.reads:
            self.scene.stop_reading(wire)
        else:
            self.scene.read_on(wire)

    # --- servers

    @precondition(lambda self: self.scene.knocks)
    @rule(place=_PLACE)
    def server_accepts(self, place: int) -> None:
        self.scene.accept(_one(self.scene.knocks, place))

    @precondition(lambda self: self.scene.knocks)
    @rule(place=_PLACE, number=st.sampled_from([ECONNREFUSED, ENOENT, EACCES]))
    def server_refuses(self, place: int, number: int) -> None:
        self.scene.refuse(_one(self.scene.knocks, place), number)

    @precondition(lambda self: self._asked())
    @rule(
        place=_PLACE,
        status=st.sampled_from([200, 200, 404, 204, 304, 500, 401]),
        framing=st.sampled_from(["length", "chunked", "close"]),
        size=_SIZES,
        sizes=_CHUNKS,
        keeps=_OFTEN,
        interim=st.sampled_from([0, 0, 1, 2]),
        broken=_RARELY,
        at_once=_OFTEN,
    )
    def server_answers(
        self,
        place: int,
        status: int,
        framing: str,
        size: int,
        sizes: list[int],
        keeps: bool,
        interim: int,
        broken: bool,
        at_once: bool,
    ) -> None:
        server = _one(self._asked(), place)
        assert server.current is not None
        reply = reply_to(
            server.current,
            status=status,
            framing=framing,
            size=size,
            sizes=sizes,
            keeps=keeps,
            interim=interim,
            broken=broken,
        )
        self.scene.reply(server, reply)
        if at_once:
            self.scene.emit(server, len(reply.raw))

    @precondition(lambda self: self._asked())
    @rule(place=_PLACE)
    def server_switches(self, place: int) -> None:
        server = _one(self._asked(), place)
        attempt = server.current
        assert attempt is not None
        reply = switch(attempt)
        reply.broken = attempt.ask is None or not attempt.ask.upgrade
        self.scene.reply(server, reply)
        self.scene.emit(server, len(reply.raw))

    @precondition(lambda self: self._answering())
    @rule(place=_PLACE, count=_PIECE)
    def server_sends(self, place: int, count: int) -> None:
        self.scene.emit(_one(self._answering(), place), count)

    @precondition(lambda self: self._tunnels())
    @rule(place=_PLACE, size=_SIZES)
    def server_sends_in_a_tunnel(self, place: int, size: int) -> None:
        server = _one(self._tunnels(), place)
        if size:
            self.scene.tunnel_emit(server, filling(b"tunnel", size))

    @precondition(lambda self: self._servers())
    @rule(place=_PLACE, now=_RARELY)
    def server_sends_surplus(self, place: int, now: bool) -> None:
        if not now:
            return
        server = _one(self._servers(), place)
        if server not in self._answering() and not server.tunnel:
            attempt = server.current
            if attempt is None or attempt.reply is None:
                self.scene.surplus(server)

    @precondition(lambda self: self._servers())
    @rule(place=_PLACE, now=_RARELY)
    def server_ends(self, place: int, now: bool) -> None:
        if not now:
            return
        self.scene.end(_one(self._servers(), place))

    @precondition(lambda self: self._servers())
    @rule(place=_PLACE, now=_RARELY)
    def server_resets(self, place: int, now: bool) -> None:
        if not now:
            return
        self.scene.reset(_one(self._servers(), place))

    @precondition(lambda self: self._servers())
    @rule(place=_PLACE)
    def server_stops_or_goes_on_reading(self, place: int) -> None:
        wire = _one(self._servers(), place).wire
        if wire.reads:
            self.scene.stop_reading(wire)
        else:
            self.scene.read_on(wire)

    # --- what mostly happens

    @precondition(lambda self: self.begun)
    @rule(
        place=_PLACE,
        method=st.sampled_from([b"GET", b"POST"]),
        status=st.sampled_from([200, 200, 304]),
        framing=st.sampled_from(["length", "chunked", "close"]),
        size=_SIZES,
        uploaded=st.sampled_from([0, 10, 300]),
        sent=st.sampled_from(["all", "all", "all", "head", "half", "none"]),
        then=st.sampled_from(["", "", "", "end", "reset", "surplus"]),
    )
    def client_is_answered(
        self,
        place: int,
        method: bytes,
        status: int,
        framing: str,
        size: int,
        uploaded: int,
        sent: str,
        then: str,
    ) -> None:
        """A whole request gets an answer, or a part of one."""
        scene = self.scene
        idle = [one for one in self._senders() if one.waiting is None and one.wire.reads]
        if not idle and len(self._clients()) >= 6:
            return
        client = _one(idle, place) if idle else scene.connect()
        body = filling(b"asked %d %d" % (client.number, len(client.asks)), uploaded)
        ask = scene.ask(
            client,
            method=method,
            minor=place % 3 and 1,
            framing="length" if body else "none",
            body=body,
            sizes=[1],
        )
        scene.send(client, len(client.stream))
        if scene.knocks and not ask.attempts:
            scene.accept(scene.knocks[-1])
        server = next(
            (one for one in self._asked() if one.current in ask.attempts and one.current.whole),
            None,
        )
        if server is None:
            return
        assert server.current is not None
        reply = reply_to(
            server.current,
            status=status,
            framing=framing,
            size=size,
            sizes=[1000],
            keeps=True,
            interim=0,
            broken=False,
        )
        scene.reply(server, reply)
        if sent == "all" and then == "surplus":
            scene.emit_with_surplus(server)
            return
        parts = {
            "all": len(reply.raw),
            "half": (len(reply.head) + len(reply.raw)) // 2,
            "head": len(reply.head),
            "none": 0,
        }
        if parts[sent]:
            scene.emit(server, parts[sent])
        if then and not server.wire.closed:
            scene.end(server) if then == "end" else scene.reset(server)

    # --- the rest of the world

    @rule(seconds=st.sampled_from([0.25, 0.25, 1.0, 1.0, 3.0, 6.0, 11.0, 35.0]))
    def time_passes(self, seconds: float) -> None:
        self.scene.pass_time(seconds)

    @rule(settings=_SETTINGS, now=_RARELY)
    def reload(self, settings: Settings, now: bool) -> None:
        if now:
            self.scene.reload(replace(settings, logged=self.scene.settings.logged))

    def teardown(self) -> None:
        scene = getattr(self, "scene", None)
        if scene is None:
            return
        try:
            if not scene.failed:
                scene.finish(plain_answer)
        finally:
            scene.close()


_T = TypeVar("_T")


def _one(choices: list[_T], place: int) -> _T:
    return choices[place % len(choices)]
