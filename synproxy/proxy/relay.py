"""The answer of a server on its way to the client: head, compression, framing, tunnel.

Must not know how the server was found.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from synproxy.core.limits import SPLICED_BODY
from synproxy.core.record import Attempt
from synproxy.core.response import BY_CHUNKS, BY_CLOSE
from synproxy.proxy.answers import connection_end, date_line
from synproxy.proxy.request import Request
from synproxy.wire.chunked import LAST_CHUNK

if TYPE_CHECKING:
    from synproxy.core.compression import Compression
    from synproxy.core.response import ResponseHead

_CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
DOUBTFUL: Final = (404, 405)


class Relay(Request):
    """Implements most of what a server connection expects of its sink."""

    __slots__ = ()

    def whole_response(self, head: ResponseHead, payload: bytes, framed: bytes) -> None:
        """All of an answer in one read, which most answers to a sync are."""
        minor = self._line.minor
        shape = head.shape
        if shape.status in DOUBTFUL or (framed and not minor):
            self.response(head, [payload], True)
            return
        compression = self.generation.compression
        if compression is not None:
            shapes = compression.shapes(head, len(payload))
            if shapes:
                coding = compression.wanted(self.block, minor)
                if coding is None:
                    shape = shapes[0]
                else:
                    shape = shapes[coding.place]
                    framed = b""
                    payload = b"".join(coding.make()([payload], True))
        client = self.client
        self.status = status = shape.status
        if status == 401:
            self._token_refused()
        self.bytes_sent = len(payload)
        if self._handler.access_log is not None:
            self._header_time = self._handler.loop.time() - self._attempt_started
        keep_alive = client.can_persist
        client.keep_alive = keep_alive
        client.transport.write(
            b"".join(
                (
                    shape.before,
                    head.date or date_line(int(time.time())),
                    shape.after,
                    _CHUNKED if framed else b"Content-Length: %d\r\n" % len(payload),
                    b"\r\n" if keep_alive and minor else connection_end(minor, keep_alive),
                    framed or payload,
                )
            )
        )
        self._finish()

    def response(self, head: ResponseHead | None, pieces: list[bytes], done: bool) -> None:
        """What one read from the server brought, on to the client."""
        client = self.client
        if head is not None:
            if head.shape.status in DOUBTFUL and self._doubt(head, pieces, done):
                return
            compression = self.generation.compression
            if compression is not None:
                self._compress(compression, head, pieces, done)
        if self._encode is not None:
            pieces = self._encode(pieces, done)
        size = 0
        for piece in pieces:
            size += len(piece)
        self.bytes_sent += size
        out = self._client_head(head, size if done else -1) if head is not None else []
        if self._chunked_out:
            if size:
                out.append(b"%x\r\n" % size)
                out += pieces
                out.append(b"\r\n")
            if done:
                out.append(LAST_CHUNK)
        else:
            out += pieces
        if out:
            client.write(out[0] if len(out) == 1 else b"".join(out))
        if done:
            self._finish()
        elif self._encode is None and self.server is not None:
            unread = self.server.unread
            if unread >= SPLICED_BODY:
                self._much_to_come(unread)

    def _much_to_come(self, unread: int) -> None:
        """So many bytes of the body have not come yet, and are to go out as they are."""

    def _doubt(self, head: ResponseHead, pieces: list[bytes], done: bool) -> bool:
        """Whether an answer is held back, since it may tell of a wrong route."""
        return False

    def _compress(
        self, compression: Compression, head: ResponseHead, pieces: list[bytes], done: bool
    ) -> None:
        """Start to compress this answer if its kind and size allow it, and the client does."""
        shapes = compression.shapes(head, sum(map(len, pieces)) if done else -1)
        if not shapes:
            return
        coding = compression.wanted(self.block, self._line.minor)
        head.shape = shapes[coding.place if coding is not None else 0]
        if coding is not None:
            self._encode = coding.make()

    def _client_head(self, head: ResponseHead, size: int) -> list[bytes]:
        """The head for the client. ``size``: bytes of the body as sent, if all of it is here."""
        shape = head.shape
        client = self.client
        minor = self._line.minor
        status = shape.status
        self._head_has_come(status)
        keep_alive = client.can_persist
        # RFC 9110 section 6.6.1: a proxy adds the Date that its server left out.
        out = [shape.before, head.date or date_line(int(time.time())), shape.after]
        framing = head.framing
        compressed = self._encode is not None
        if compressed and size >= 0:
            out.append(b"Content-Length: %d\r\n" % size)
        elif compressed or framing in (BY_CHUNKS, BY_CLOSE):
            if minor:
                self._chunked_out = True
                out.append(_CHUNKED)
            else:
                keep_alive = False  # HTTP/1.0 knows the end of such a body by the close only
        elif head.content_length >= 0 and status >= 200 and status != 204:
            out.append(b"Content-Length: %d\r\n" % head.content_length)
        client.keep_alive = keep_alive
        out.append(connection_end(minor, keep_alive))
        return out

    def _head_has_come(self, status: int) -> None:
        """The server has begun to answer; as ``whole_response`` notes without this call."""
        self.status = status
        if status == 401:
            self._token_refused()
        if self._handler.access_log is not None:
            self._header_time = self._handler.loop.time() - self._attempt_started

    def _token_refused(self) -> None:
        self.generation.users.refused(
            self.block.value(b"authorization"), self._line.target.partition(b"?")[2]
        )

    def _finish(self) -> None:
        server, self.server = self.server, None
        self._release(failed=False)
        if server is not None:
            server.finish()
        handler = self._handler
        metrics = handler.metrics
        if metrics is not None:
            if self._detour:
                self._count(metrics, "ok")
            else:
                metrics.answered(self, self._line.method, self._started)
        if handler.access_log is not None:
            self._note_attempt(self.status)
            self._record("ok")
        self.client.finish()

    def server_writable(self, writable: bool) -> None:
        if writable:
            self.client.resume_reading()
        else:
            self.client.pause_reading()

    def switched(self, head: ResponseHead, early: bytes) -> None:
        """101 (RFC 9110 section 15.2.2): from here both sides are passed on as they are."""
        self._tunnel = True
        self.status = 101
        client = self.client
        shape = head.shape
        client.write(
            b"".join(
                (
                    shape.before,
                    head.date,
                    shape.after,
                    b"Upgrade: %b\r\nConnection: upgrade\r\n\r\n" % shape.upgrade,
                    early,
                )
            )
        )
        self.bytes_sent += len(early)
        sent_early = client.start_tunnel()
        if sent_early:
            self.tunnel_data(sent_early)

    def tunnel_data(self, data: bytes) -> None:
        if self.server is not None:
            self.bytes_received += len(data)
            self.server.write(data)

    def tunnel_reply(self, data: bytes) -> None:
        self.bytes_sent += len(data)
        self.client.write(data)

    def tunnel_reply_end(self) -> bool:
        if self._half_closed:
            return False
        self._half_closed = True
        self.client.write_eof()
        return True

    def _release(self, *, failed: bool) -> None:
        pool = self.pool
        if self._balanced and pool is not None:
            self._balanced = False
            now = self._handler.wheel.now
            if pool.lobby is None:
                pool.balancer.released(self.index, failed, now)
            else:  # somebody waits for the place: nobody may take it before the connection is back
                self._handler.loop.call_soon(pool.released, self.index, failed, now)

    def _note_attempt(self, status: int) -> None:
        if self.pool is None or self._handler.access_log is None:
            return
        attempt = Attempt(
            self.pool.settings.servers[self.index].address,
            status,
            self._connect_time,
            self._header_time,
            self._handler.loop.time() - self._attempt_started,
        )
        if self._attempts is None:
            self._attempts = [attempt]
        else:
            self._attempts.append(attempt)

    def _answer_or_cut(self, status: int, reason: str) -> None:
        if self.status:
            self._log(reason)
            self._cut()
        else:
            self._answer(status, reason=reason)

    def _cut(self) -> None:
        """The answer stays incomplete, and the client must be able to see that."""
        client = self.client
        client.exchange = None
        if self._chunked_out or client.keep_alive:  # chunks, or a length, tell the client
            client.close()
        else:
            client.abort()
