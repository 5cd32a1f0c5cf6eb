"""How long a server may take over a request that says itself how long it wants to wait.

``GET /sync?timeout=30000`` asks Synapse to hold the request for 30 s; whoever cuts it before that
makes the client start over.
"""

from __future__ import annotations

from typing import Final

from synproxy.config.units import MAX_DURATION

_NAME: Final = b"timeout="
_AMPERSAND: Final = 0x26
_DIGITS: Final = 15


def wait_parameter(target: bytes) -> bytes:
    """The first ``timeout=`` in the query of a request-target if it is a number, else nothing.
    Synapse takes the first one too."""
    query = target.find(b"?")
    if query < 0:
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
    (``otherwise``), or for a GET that says how long it waits that and ``deadline_margin``."""
    value = wait_parameter(target) if margin and method == b"GET" else b""
    return min(int(value) / 1000, MAX_DURATION) + margin if value else otherwise
