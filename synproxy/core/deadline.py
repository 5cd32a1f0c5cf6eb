"""How long a server may take over a request that says itself how long it wants to wait.

``GET /sync?timeout=30000`` asks Synapse to hold the request for 30 s; whoever cuts it before that
makes the client start over.
"""

from __future__ import annotations

from typing import Final

from synproxy.config.units import MAX_DURATION

_NAME: Final = b"timeout="
_SYNC: Final = b"/sync"
_AMPERSAND: Final = 0x26
_DIGITS: Final = 15


def wait_parameter(method: bytes, target: bytes) -> bytes:
    """The first ``timeout=`` in the query of a request that may wait if it is a number, else
    nothing. Synapse takes the first one too.

    A GET may wait, and so may a POST to a path that ends in ``/sync``: sliding sync (MSC4186).
    """
    query = target.find(b"?")
    if query < 0 or not (
        method == b"GET" or (method == b"POST" and target.endswith(_SYNC, 0, query))
    ):
        return b""
    at = target.find(_NAME, query)
    while at > query + 1 and target[at - 1] != _AMPERSAND:
        at = target.find(_NAME, at + 1)
    if at < 0:
        return b""
    start = at + len(_NAME)
    end = target.find(b"&", start)
    value = target[start:] if end < 0 else target[start:end]
    return value if value.isdigit() and len(value) <= _DIGITS else b""


def read_timeout(method: bytes, target: bytes, otherwise: float, margin: float) -> float:
    """How long a server may pause while it answers, in seconds: ``proxy_read_timeout``
    (``otherwise``), or for a sync that says how long it waits that and ``deadline_margin``."""
    value = wait_parameter(method, target) if margin else b""
    return waiting(value, margin) if value else otherwise


def waiting(value: bytes, margin: float) -> float:
    """Seconds for a wait of so many milliseconds."""
    return min(int(value) / 1000, MAX_DURATION) + margin
