"""Answers that tell of a wrong route: a server says that it has no such endpoint.

Synapse answers 404 or 405 with ``M_UNRECOGNIZED`` before any handler has run, so the request can be
asked again elsewhere. Pure: counts, and says when to warn.
Source: synapse/http/server.py, ``_get_handler_for_request``
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from synproxy.core.response import BY_CHUNKS, BY_LENGTH

if TYPE_CHECKING:
    from synproxy.core.response import ResponseHead

MAX_ANSWER: Final = 1024
"""Bytes of an answer that may be looked into; Synapse's has about 60."""
WARN_AGAIN: Final = 600.0
"""Seconds from one warning about a route and a method to the next."""

_METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"})


def may_be_unrecognized(head: ResponseHead) -> bool:
    """Whether the body of this answer is worth a look; judged on the head alone."""
    shape = head.shape
    if shape.status not in (404, 405) or head.framing not in (BY_LENGTH, BY_CHUNKS):
        return False
    kind = shape.value(b"content-type").partition(b";")[0].strip().lower()
    return (
        kind == b"application/json"
        and head.content_length <= MAX_ANSWER
        and not shape.value(b"content-encoding")
    )


def is_unrecognized(body: bytes) -> bool:
    """Whether a whole body has the errcode ``M_UNRECOGNIZED``."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("errcode") == "M_UNRECOGNIZED"


class Misroutes:
    """How often, by route and method; for the log now, for a metrics page at any time."""

    __slots__ = ("_told", "counts")

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], int] = {}
        """Requests asked again since the process started."""
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def note(self, route: str, method: bytes, now: float) -> int:
        """Count one. Returns how many have come since the last warning, 0 if it is too early
        for another. Methods that clients make up count as one, so memory is bounded."""
        key = (route, method.decode() if method in _METHODS else "other")
        count = self.counts[key] = self.counts.get(key, 0) + 1
        told_at, told = self._told.get(key, (now - WARN_AGAIN, 0))
        if now - told_at < WARN_AGAIN:
            return 0
        self._told[key] = (now, count)
        return count - told
