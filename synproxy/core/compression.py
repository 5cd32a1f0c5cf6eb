"""Whether an answer may be compressed (nginx ``gzip_*``).

nginx's rules, and two that it lacks: a body marked ``no-transform`` (RFC 9110 section 7.7) and a
strong ETag are never touched. QR-code login compares ETags and broke behind nginx for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from synproxy.core.fields import tokens
from synproxy.core.memo import Memo
from synproxy.core.response import NO_BODY

if TYPE_CHECKING:
    from synproxy.config.model import Gzip
    from synproxy.core.head import HeaderBlock
    from synproxy.core.response import AnswerShape, ResponseHead

_STATUSES: Final = frozenset({200, 403, 404})
"""nginx's ngx_http_gzip_filter_module compresses no others."""

_ACCEPT_RANGES: Final = re.compile(rb"(?i)(?<=\n)accept-ranges:[^\n]*\n")
_WEIGHT: Final = re.compile(rb"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


class Compression:
    """The rules of one configuration."""

    __slots__ = ("_accepted", "_any_type", "_disable", "_min_length", "_types", "level", "vary")

    def __init__(self, settings: Gzip) -> None:
        self.level = settings.comp_level
        self.vary = settings.vary
        self._min_length = settings.min_length
        self._types = {name.lower().encode() for name in settings.types} | {b"text/html"}
        self._any_type = b"*" in self._types
        self._disable = [re.compile(pattern.encode()) for pattern in settings.disable]
        self._accepted: Memo[bytes, tuple[bool]] = Memo(512)

    def wanted(self, block: HeaderBlock, minor: int) -> bool:
        """Whether the client of a request takes gzip.

        As in nginx, HTTP/1.0 clients (``gzip_http_version 1.1``) and requests that came through
        another proxy (``gzip_proxied off``: a ``Via`` field) do not get it.
        """
        value = block.value(b"accept-encoding")
        if not value or minor == 0 or block.value(b"via"):
            return False
        known = self._accepted.recall(value)
        if known is None:
            known = (accepts_gzip(value),)
            self._accepted.store(value, known)
        if not known[0]:
            return False
        if self._disable:
            agent = block.value(b"user-agent")
            return not any(pattern.search(agent) for pattern in self._disable)
        return True

    def shapes(self, head: ResponseHead, length: int) -> tuple[AnswerShape, AnswerShape] | None:
        """For an answer whose kind and size allow compression: its shape for clients that do not
        take it, and for those that do. ``length`` of the body is -1 when not known yet."""
        shape = head.shape
        known = shape.compressed
        if known is None:
            known = shape.compressed = self._shapes(shape) if self._eligible(shape) else ()
        if not known or head.framing == NO_BODY:
            return None
        if length < 0:
            length = head.content_length
        return None if 0 <= length < self._min_length else known

    def _shapes(self, shape: AnswerShape) -> tuple[AnswerShape, AnswerShape]:
        vary = b"Vary: Accept-Encoding\r\n" if self.vary else b""
        plain = shape.with_lines(shape.before, shape.after + vary)
        compressed = shape.with_lines(
            _ACCEPT_RANGES.sub(b"", shape.before),
            _ACCEPT_RANGES.sub(b"", shape.after) + vary + b"Content-Encoding: gzip\r\n",
        )
        return plain, compressed

    def _eligible(self, shape: AnswerShape) -> bool:
        if shape.status not in _STATUSES:
            return False
        kind = b""
        for name, value in shape.fields:
            lower = name.lower()
            if lower == b"content-type":
                kind = value.partition(b";")[0].strip().lower()
            elif lower == b"content-encoding":
                return False
            elif lower == b"etag":
                if not value.startswith(b"W/"):
                    return False
            elif lower == b"cache-control" and b"no-transform" in tokens(value):
                return False
        return self._any_type or kind in self._types


def accepts_gzip(value: bytes) -> bool:
    """Read ``Accept-Encoding`` (RFC 9110 section 12.5.3): gzip or ``*`` with a weight above 0."""
    star = False
    for member in value.lower().split(b","):
        name, _, parameters = member.partition(b";")
        name = name.strip()
        if name in (b"gzip", b"x-gzip", b"*"):
            weight = _WEIGHT.fullmatch(parameters.strip().replace(b" ", b""))
            accepted = not parameters or (weight is not None and float(weight[1]) > 0)
            if name != b"*":
                return accepted
            star = accepted
    return star
