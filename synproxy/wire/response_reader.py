"""Response heads, read fast: of a server's head most lines have come before.

A field line means the same wherever it stands, so what llhttp made of it is remembered, and a
head is a handful of dictionary look-ups. The result is the one of
:func:`synproxy.wire.http1.parse_response_head`; a property test holds the two together.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from synproxy.core.memo import Memo
from synproxy.core.response import JUDGED, Remembered, ResponseHead
from synproxy.errors import Failure, UpstreamError
from synproxy.wire.http1 import parse_field_line, parse_status_line

MEMO_ENTRIES: Final = 1024
MEMO_LINE_LIMIT: Final = 256
"""Bytes; longer lines are judged every time."""


class ResponseReader:
    """Reads the heads of answers from which the same fields are hidden."""

    __slots__ = ("_judged", "_lines", "_statuses", "hidden")

    def __init__(self, hidden: frozenset[bytes]) -> None:
        self.hidden = hidden
        self._statuses: Memo[bytes, tuple[int, bytes, int]] = Memo(64)
        self._lines: Memo[bytes, bytes] = Memo(MEMO_ENTRIES)
        """Line as it came -> line for the client, empty if hidden."""
        self._judged: Memo[bytes, tuple[bytes, bytes]] = Memo(MEMO_ENTRIES)
        """Lines whose meaning matters here -> name and value."""

    def read(self, head: bytes, *, head_request: bool) -> ResponseHead:
        """Read a status line and fields, with the empty line that ends them.

        :raises UpstreamError: INVALID.
        """
        lines = head[:-4].split(b"\r\n")
        status_line = lines[0]
        status = self._statuses.recall(status_line)
        if status is None:
            status = parse_status_line(status_line)
            self._statuses.store(status_line, status)
        remembered = self._lines.get
        judged: list[tuple[bytes, bytes]] = []
        passed = [
            out if (out := remembered(line)) is not None else self._judge(line, judged)
            for line in islice(lines, 1, None)
        ]
        return ResponseHead(
            *status,
            judged,
            head_request=head_request,
            hidden=self.hidden,
            remembered=Remembered(passed, lines[1:]),
        )

    def _judge(self, line: bytes, judged: list[tuple[bytes, bytes]]) -> bytes:
        """The line for the client; a field that is judged is added to ``judged``."""
        field = self._judged.recall(line)
        if field is None:
            known = self._lines.recall(line)
            if known is not None:
                return known
            if b"\n" in line or b"\r" in line:
                raise UpstreamError(Failure.INVALID, "a line that does not end in CRLF")
            field = parse_field_line(line)
            lower = field[0].lower()
            if lower not in JUDGED:
                passed = b"" if lower in self.hidden else b"%b: %b\r\n" % field
                if len(line) <= MEMO_LINE_LIMIT:
                    self._lines.store(line, passed)
                return passed
            if len(line) <= MEMO_LINE_LIMIT:
                self._judged.store(line, field)
        judged.append(field)
        if field[0].lower() == b"date" and b"date" not in self.hidden:
            return b"%b: %b\r\n" % field
        return b""
