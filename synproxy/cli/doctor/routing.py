"""Where the configuration sends a request that the doctor thinks of.

Asks the data path's own classes. Must not open anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from synproxy.errors import DownstreamError
from synproxy.explain.offline import Offline, Request, imagine
from synproxy.proxy.generation import CompiledRoute

SOMEBODY = "203.0.113.7"  # TEST-NET-3, RFC 5737: on nobody's allowlist


@dataclass(frozen=True, slots=True)
class Way:
    """What becomes of one request: refused, answered here, or sent to a pool."""

    request: Request | None
    route: CompiledRoute | None = None
    permitted: bool = False
    pool: str = ""

    @property
    def forwarded(self) -> bool:
        return self.permitted and bool(self.pool)


def way_of(offline: Offline, method: str, target: str, sender: str = SOMEBODY) -> Way:
    """The way of a request without credentials from an address that nobody knows."""
    try:
        request = imagine(method, target, (), sender)
        raw_path = request.target.partition(b"?")[0]
        decision = offline.generation.decide(raw_path, request.method)
    except DownstreamError:
        return Way(None)
    route = decision.route
    if route is None:
        return Way(request)
    request.captures = decision.captures
    permitted = all(access.permits(request.remote_addr) for access in decision.accesses)
    chosen = None if route.respond is not None else route.choose(request)
    return Way(request, route, permitted, "" if chosen is None else chosen.pool.name)
