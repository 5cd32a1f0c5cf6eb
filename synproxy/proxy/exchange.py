"""One request and its answer: ties a client connection to attempts on servers.

Bytes stream through in both directions; each side's back-pressure stops the other. There is no task
and no timer here: both connections have their deadlines, and everything happens in their callbacks.
The parts: ``request`` (what is known), ``relay`` (the answer), ``attempts`` (the servers), and here
what the client does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from synproxy.core.forward import with_length
from synproxy.core.limits import BODY_HIGH_WATER, REPLAY_BODY, SPLICED_BODY
from synproxy.core.variables import FieldsView, RequestNeededError
from synproxy.errors import DownstreamError
from synproxy.proxy.attempts import Attempts
from synproxy.wire.chunked import LAST_CHUNK, encode_chunk

if TYPE_CHECKING:
    from synproxy.core.forward import HeadPlan
    from synproxy.core.variables import RequestView, Template
    from synproxy.proxy.generation import PoolTarget

    Remembered = tuple[HeadPlan, bytes, bytes | None, bool, Template | None, bytes]
    """A plan, what it made of a header block, a template, and its value."""

_CLIENT_CLOSED_REQUEST: Final = 499
"""nginx's code for the log: the client left before an answer began."""


class Exchange(Attempts):
    """Implements what a client connection expects of the request in progress."""

    __slots__ = ()

    def start(self, *, complete: bool, body: bytes = b"") -> None:
        """Route the request and make the first attempt; may answer at once."""
        self.complete = complete
        if body:
            self._body = [body]
            self._body_size = self.bytes_received = len(body)
        line = self._line
        if line.target == b"*":
            self._answer(204, reason="local")
            return
        raw_path, _, self.query = line.target.partition(b"?")
        generation = self.generation
        try:
            decision = generation.decisions.get((raw_path, line.method)) or generation.decide(
                raw_path, line.method
            )
        except DownstreamError as error:
            self.client.keep_alive = False
            self._answer(error.status, reason="client_error")
            return
        self.path, route, self.captures, accesses = decision
        if route is None:
            self._answer(404, reason="local")
            return
        self.route = route
        if accesses:
            for access in accesses:
                if not access.permits(self.client.remote_addr):
                    self._answer(403, reason="local")
                    return
        length = self.block.content_length
        if length is not None and length > route.max_body > 0:
            self._answer(413, reason="client_error")
            return
        if route.respond is not None:
            self._send(route.respond, "local")
            return
        target = route.target or route.choose(self)
        if target is None:
            self._answer(502, reason="local")
            return
        self.pool = target.pool
        try:
            self._render(route.plan, target)
        except DownstreamError as error:
            self._answer(error.status, reason="client_error")
            return
        self._attempt()

    def _render(self, plan: HeadPlan, target: PoolTarget) -> None:
        """The header block for the server, and the sticky key. One connection sends the same
        block again and again, so what was made of it is remembered with it."""
        block = self.block
        key = target.key
        made: Remembered | None = block.made  # type: ignore[assignment]
        if made is not None and made[0] is plan and not self._line.authority:
            _, before, after, self._close_upstream, known_key, known = made
            self._fields = (
                before if after is None else with_length(before, after, block.content_length)
            )
            if key is not None:
                self._key = known if key is known_key else key.render(self)
            return
        before, after, self._close_upstream = plan.render(self, block)
        self._fields = with_length(before, after, block.content_length)
        remembered = None
        if key is not None:
            try:
                self._key = key.render(cast("RequestView", FieldsView(self)))
                remembered = key
            except RequestNeededError:
                self._key = key.render(self)
        if plan.cacheable and not self._line.authority:
            block.made = (plan, before, after, self._close_upstream, remembered, self._key)

    def request_body(self, payload: bytes) -> None:
        """More of the body: on to the server, or kept until there is one."""
        self.bytes_received += len(payload)
        route = self.route
        if route is None:
            return
        block = self.block
        if block.chunked:
            if self.bytes_received > route.max_body > 0:
                self._give_up_server()
                self._answer_or_cut(413, "client_error")
                return
            payload = encode_chunk(payload)
        server = self.server
        self._keep(payload)
        if server is not None:
            self._sent = True
            server.write(payload)
            unread = self.client.unread
            splicer = self._handler.splicer
            if unread >= SPLICED_BODY and splicer is not None:
                splicer.upload(self, unread)
        elif self._body_size > BODY_HIGH_WATER:
            self.client.pause_reading()

    def _keep(self, framed: bytes) -> None:
        """Keep the body for a retry while it is small, and all of it while there is no server."""
        if self.server is not None and self._body_size + len(framed) > REPLAY_BODY:
            self._body = None
        elif self._body is not None:
            self._body.append(framed)
        elif self._body_size == 0:
            self._body = [framed]
        self._body_size += len(framed)

    def _much_to_come(self, unread: int) -> None:
        splicer = self._handler.splicer
        if splicer is not None:
            splicer.download(self, unread)

    def forget_body(self) -> None:
        """The next bytes are not kept: the request can only be sent once."""
        self._body = None

    def request_end(self) -> None:
        """The body is complete."""
        self.complete = True
        if self.block.chunked:
            self._keep(LAST_CHUNK)
        server = self.server
        if server is not None:
            if self.block.chunked:
                server.write(LAST_CHUNK)
            server.request_sent()

    def bad_request(self, error: DownstreamError) -> None:
        """The body is malformed or late."""
        self._give_up_server()
        self.client.keep_alive = False
        self._answer_or_cut(
            error.status, "client_timeout" if error.status == 408 else "client_error"
        )

    def client_gone(self, reason: str) -> None:
        """The client closed or reset: the server's work is of no use any more."""
        if self._tunnel and self.server is not None:
            server, self.server = self.server, None
            self._release(failed=False)
            self._note_attempt(101)
            server.close()
            self._log("ok")
            return
        self._give_up_server()
        if self.status == 0:
            self.status = _CLIENT_CLOSED_REQUEST
        self._log(reason)

    def client_half_closed(self) -> bool:
        """FIN after a whole request. nginx takes that for a client that is gone
        (``proxy_ignore_client_abort off``), and for a closed browser tab it is right."""
        if self._tunnel:
            server = self.server
            if server is None or self._half_closed:
                return False
            self._half_closed = True
            server.write_eof()
            return True
        if self.complete and self.route is not None and self.route.settings.ignore_client_abort:
            return True
        if self.status and not self._line.minor:
            # Closed as usual, this connection's end would be taken for the answer's.
            self.client_gone("client_gone")
            self.client.abort()
        return False

    def client_writable(self, writable: bool) -> None:
        server = self.server
        if server is not None:
            if writable:
                server.resume_reading()
            else:
                server.pause_reading()
