"""How long a server may take over a request that says itself how long it wants to wait.

``GET /sync?timeout=30000`` asks Synapse to hold the request for 30 s; whoever cuts it before that
makes the client start over.
"""

from __future__ import annotations

import re
from typing import Final

from synproxy.config.units import MAX_DURATION

_TIMEOUT: Final = re.compile(rb"[?&]timeout=([^&]*)")
_MILLISECONDS: Final = re.compile(rb"[0-9]{1,15}")


def asked_wait(target: bytes) -> float | None:
    """Seconds from the first ``timeout=`` (milliseconds) in the query of a request-target; None:
    there is none, or it is no number. Synapse takes the first one too."""
    query = target.find(b"?")
    if query < 0:
        return None
    found = _TIMEOUT.search(target, query)
    if found is None or not _MILLISECONDS.fullmatch(found[1]):
        return None
    return min(int(found[1]) / 1000, MAX_DURATION)


def read_timeout(method: bytes, target: bytes, otherwise: float, margin: float) -> float:
    """How long a server may pause while it answers, in seconds: ``proxy_read_timeout``
    (``otherwise``), or for a GET that says how long it waits that and ``deadline_margin``."""
    asked = asked_wait(target) if margin and method == b"GET" else None
    return otherwise if asked is None else asked + margin
