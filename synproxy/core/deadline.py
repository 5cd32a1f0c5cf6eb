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
