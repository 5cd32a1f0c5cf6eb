"""Response heads, read fast: but for ``Date`` and ``Content-Length`` most have come before.

These two lines are cut out, and what is left is looked up. A field line means the same wherever
it stands, so the result is the one of :func:`synproxy.wire.http1.parse_response_head`; a property
test holds the two together.
"""

from __future__ import annotations

import re
from typing import Final

from synproxy.core.memo import Memo
from synproxy.core.response import ALWAYS_HIDDEN, BY_LENGTH, NO_BODY, AnswerShape, ResponseHead
from synproxy.wire.http1 import parse_response_head

MEMO_ENTRIES: Final = 1024
MEMO_HEAD_LIMIT: Final = 2048
"""Bytes; longer heads are judged every time."""

_DATE: Final = b"\r\nDate: "
_DATE_LENGTH: Final = len(b"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT")
_DATE_LINE: Final = re.compile(
    rb"Date: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT\r\n"
)
_LENGTH: Final = b"\r\nContent-Length: "


class ResponseReader:
    """Reads the heads of answers from which the same fields are hidden."""

    __slots__ = ("_dates", "_hidden", "_server_line", "_shapes")

    def __init__(self, hidden: frozenset[bytes] = ALWAYS_HIDDEN, server_line: bytes = b"") -> None:
        self._hidden = hidden
        self._server_line = server_line
        self._dates: Memo[bytes, bytes] = Memo(256)
        """Line as it came -> line for the client, empty if hidden."""
        self._shapes: Memo[tuple[bytes, bool], AnswerShape] = Memo(MEMO_ENTRIES)

    def read(self, head: bytes, *, head_request: bool) -> ResponseHead:
        """Read a status line and fields, with the empty line that ends them.

        :raises UpstreamError: INVALID.
        """
        # The names of the lines stay in what is looked up: they tell where the lines were.
        rest = head
        date = b""
        at = head.find(_DATE)
        if at >= 0:
            end = at + _DATE_LENGTH
            line = head[at + 2 : end + 2]
            known = self._dates.get(line)
            if known is None:
                known = self._date(line)
                if known is None:
                    return self._judge(head, head_request)
            date = known
            rest = head[: at + 8] + head[end:]
        length = -1
        at = rest.find(_LENGTH)
        if at >= 0:
            end = rest.find(b"\r\n", at + 18)
            digits = rest[at + 18 : end]
            if not digits.isdigit() or len(digits) > 18:
                return self._judge(head, head_request)
            length = int(digits)
            rest = rest[: at + 18] + rest[end:]
        key = (rest, head_request)
        shape = self._shapes.get(key) or self._shapes.recall(key)
        if shape is None:
            judged = self._judge(head, head_request)
            if (
                len(rest) <= MEMO_HEAD_LIMIT
                and judged.date == date
                and judged.content_length == length
            ):
                self._shapes.store(key, judged.shape)
            return judged
        framing = shape.framing
        if length == 0 and framing == BY_LENGTH:
            framing = NO_BODY
        return ResponseHead(shape, framing, date, length)

    def _date(self, line: bytes) -> bytes | None:
        if _DATE_LINE.fullmatch(line) is None:
            return None
        date = b"" if b"date" in self._hidden else line
        self._dates.store(line, date)
        return date

    def _judge(self, head: bytes, head_request: bool) -> ResponseHead:
        return parse_response_head(
            head,
            head_request=head_request,
            hidden=self._hidden,
            server_line=self._server_line,
        )
