"""What one child knows at this moment, as JSON: what it has counted, and what it looks at now.

``counts`` and ``cells`` only grow; ``now`` comes and goes. All three can be summed over children.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synproxy.observe.metrics import Metrics
    from synproxy.proxy.handler import ProxyHandler


def snapshot(handler: ProxyHandler, metrics: Metrics) -> dict[str, Any]:
    """Lists of ``[labels, value]`` by name."""
    metrics.fold()
    now: dict[str, Counter[tuple[str, ...]]] = {
        name: Counter() for name in ("connections", "in_flight", "busy", "idle", "held", "queued")
    }
    now["connections"].update({(state,): 0 for state in ("reading", "writing", "waiting")})
    for connection in handler.connections:
        # One that is in its TLS handshake has no exchange yet.
        exchange: Any = getattr(connection, "exchange", None)
        if exchange is None:
            reading = getattr(connection, "head_started", True)
            now["connections"]["reading" if reading else "waiting",] += 1
            continue
        now["connections"]["writing",] += 1
        now["in_flight"][exchange.route.name if exchange.route is not None else "",] += 1
        if exchange.server is not None:
            now["busy"][exchange.pool.name,] += 1
    servers = []
    for name, pool in handler.generation.pools.items():
        now["idle"][name,] += pool.idle_connections
        held, queued = pool.lobby.waiting if pool.lobby is not None else (0, 0)
        now["held"][name,] += held
        now["queued"][name,] += queued
        for index, server in enumerate(pool.settings.servers):
            servers.append(
                [name, server.address, 2 if server.down else pool.balancer.health(index)]
            )
    counts = {
        "accepted": {(): handler.accepted.count},
        "refusals": {(status,): count for status, count in metrics.refusals.items()},
        "ends": metrics.ends,
        "events": metrics.events,
        "failures": metrics.failures,
        "misroutes": handler.misroutes.counts,
    }
    return {
        "pid": os.getpid(),
        "counts": {name: _listed(values) for name, values in counts.items()},
        "cells": {"totals": _listed(metrics.totals), "late": _listed(metrics.late)},
        "now": {name: _listed(values) for name, values in now.items()},
        "servers": servers,
        "errors": {fault: list(errors) for fault, errors in metrics.errors.items()},
    }


def _listed(values: Any) -> list[Any]:
    return [[list(labels), value] for labels, value in values.items()]
