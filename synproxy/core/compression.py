"""Whether an answer may be compressed, and how (nginx ``gzip_*``).

nginx's rules, and two that it lacks: a body marked ``no-transform`` (RFC 9110 section 7.7) and a
strong ETag are never touched. QR-code login compares ETags and broke behind nginx for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

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


class Coding(NamedTuple):
    """A content coding that may be used."""

    name: bytes
    """As in ``Content-Encoding``."""
    make: Callable[[], Callable[[list[bytes], bool], list[bytes]]]
    """Gives an encoder for one answer (``wire.coding``)."""
    place: int
    """Among the codings, from the preferred one on; 1 is the first."""


class Compression:
    """The rules of one configuration. ``codings``: the preferred one first."""

    __slots__ = ("_accepted", "_any_type", "_codings", "_disable", "_min_length", "_types", "vary")

    def __init__(
        self,
        settings: Gzip,
        codings: Sequence[tuple[bytes, Callable[[], Callable[[list[bytes], bool], list[bytes]]]]],
    ) -> None:
        self.vary = settings.vary
        self._codings = [Coding(*coding, place) for place, coding in enumerate(codings, start=1)]
        self._min_length = settings.min_length
        self._types = {name.lower().encode() for name in settings.types} | {b"text/html"}
        self._any_type = b"*" in self._types
        self._disable = [re.compile(pattern.encode()) for pattern in settings.disable]
        self._accepted: Memo[bytes, tuple[Coding | None]] = Memo(512)

    def wanted(self, block: HeaderBlock, minor: int) -> Coding | None:
        """The coding for the client of a request; None if it takes none of ours.

        As in nginx, HTTP/1.0 clients (``gzip_http_version 1.1``) and requests that came through
        another proxy (``gzip_proxied off``: a ``Via`` field) do not get one.
        """
        value = block.value(b"accept-encoding")
        if not value or minor == 0 or block.value(b"via"):
            return None
        known = self._accepted.recall(value)
        if known is None:
            names = [coding.name for coding in self._codings]
            best = preferred(value, names)
            known = (self._codings[names.index(best)] if best else None,)
            self._accepted.store(value, known)
        coding = known[0]
        if coding is not None and self._disable:
            agent = block.value(b"user-agent")
            if any(pattern.search(agent) for pattern in self._disable):
                return None
        return coding

    def shapes(self, head: ResponseHead, length: int) -> tuple[AnswerShape, ...]:
        """For an answer whose kind and size allow compression: its shape for clients that do not
        take it, and at each coding's place the one with it. Nothing if they do not allow it.
        ``length`` of the body is -1 when not known yet."""
        shape = head.shape
        known = shape.compressed
        if known is None:
            known = shape.compressed = self._shapes(shape) if self._eligible(shape) else ()
        if not known or head.framing == NO_BODY:
            return ()
        if length < 0:
            length = head.content_length
        return () if 0 <= length < self._min_length else known

    def _shapes(self, shape: AnswerShape) -> tuple[AnswerShape, ...]:
        vary = b"Vary: Accept-Encoding\r\n" if self.vary else b""
        before = _ACCEPT_RANGES.sub(b"", shape.before)
        after = _ACCEPT_RANGES.sub(b"", shape.after) + vary
        return (
            shape.with_lines(shape.before, shape.after + vary),
            *(
                shape.with_lines(before, b"%bContent-Encoding: %b\r\n" % (after, coding.name))
                for coding in self._codings
            ),
        )

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


def preferred(value: bytes, names: Sequence[bytes]) -> bytes:
    """The coding that an ``Accept-Encoding`` gives the greatest weight (RFC 9110 section 12.5.3),
    of several the first of ``names``; nothing if it takes none of them."""
    weights: dict[bytes, float] = {}
    for member in value.lower().split(b","):
        name, _, parameters = member.partition(b";")
        weight = _WEIGHT.fullmatch(parameters.strip().replace(b" ", b""))
        accepted = float(weight[1]) if weight is not None else float(not parameters)
        weights.setdefault(_ALIASES.get(name.strip(), name.strip()), accepted)
    star = weights.get(b"*", 0.0)
    best = max(names, key=lambda name: weights.get(name, star), default=b"")
    return best if weights.get(best, star) > 0 else b""


_ALIASES: Final = {b"x-gzip": b"gzip"}
"""RFC 9110 section 8.4.1.3."""
