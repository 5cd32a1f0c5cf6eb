"""An exchange whose client speaks HTTP/2: routed, balanced and logged as any other.

Only what goes to the client differs: packed fields instead of lines, and frames that say where a
body ends. Must not know windows or frames.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from synproxy.core.response import BY_CHUNKS, BY_CLOSE
from synproxy.proxy.answers import date_line
from synproxy.proxy.front import FrontExchange
from synproxy.proxy.relay import DOUBTFUL
from synproxy.wire import hpack

if TYPE_CHECKING:
    from synproxy.core.response import ResponseHead
    from synproxy.downstream.http2_stream import Http2Stream
    from synproxy.proxy.answers import LocalAnswer


class Http2Exchange(FrontExchange):
    """Implements the answers for a stream."""

    __slots__ = ()

    @property
    def version(self) -> bytes:
        return b"HTTP/2.0"

    @property
    def _stream(self) -> Http2Stream:
        return cast("Http2Stream", self.client)

    def _send(self, answer: LocalAnswer, reason: str) -> None:
        answer = self._dressed(answer)
        stream = self._stream
        self.status = answer.status
        body = b"" if self._line.method == b"HEAD" else answer.body
        self.bytes_sent = len(body)
        stream.answer(packed_answer(answer, self.generation.server_line), body, end=True)
        self._log(reason)
        stream.finish()

    def whole_response(self, head: ResponseHead, payload: bytes, framed: bytes) -> None:
        self.response(head, [payload] if payload else [], True)

    def response(self, head: ResponseHead | None, pieces: list[bytes], done: bool) -> None:
        if head is not None:
            if head.shape.status in DOUBTFUL and self._doubt(head, pieces, done):
                return
            self._dress(head)
            compression = self.generation.compression
            if compression is not None:
                self._compress(compression, head, pieces, done)
        if self._encode is not None:
            pieces = self._encode(pieces, done)
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.bytes_sent += len(data)
        if head is not None:
            block = self._head_block(head, len(data) if done else -1)
            self._stream.answer(block, data, end=done)
        elif data or done:
            self._stream.send(data, end=done)
        if done:
            self._finish()

    def _head_block(self, head: ResponseHead, size: int) -> bytes:
        """``size``: bytes of the body as sent, if all of it is here."""
        shape = head.shape
        status = shape.status
        self._head_has_come(status)
        length = head.content_length
        if self._encode is not None or head.framing in (BY_CHUNKS, BY_CLOSE):
            length = size
        elif status < 200 or status == 204:
            length = -1
        return b"".join(
            (
                hpack.status(status),
                hpack.lines(shape.before),
                hpack.date(head.date or date_line(int(time.time()))),
                hpack.lines(shape.after),
                b"" if length < 0 else hpack.content_length(length),
            )
        )


def packed_answer(answer: LocalAnswer, server_line: bytes) -> bytes:
    """The head of an answer of our own."""
    status = answer.status
    return b"".join(
        (
            hpack.status(status),
            hpack.lines(server_line + answer.fields),
            hpack.date(date_line(int(time.time()))),
            b"" if status in (204, 304) else hpack.content_length(len(answer.body)),
        )
    )
