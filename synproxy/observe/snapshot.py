"""What one child knows at this moment, as JSON: what it has counted, and what it looks at now.

``counts`` and ``cells`` only grow; ``now`` comes and goes. All three can be summed over children.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from synproxy.core.deadline import wait_parameter
from synproxy.core.health import Status
from synproxy.downstream.http2 import exchanges_of

if TYPE_CHECKING:
    from synproxy.observe.metrics import Metrics
    from synproxy.proxy.handler import ProxyHandler
    from synproxy.upstream.pool import ServerPool

_NOW: Final = (
    "connections",
    "in_flight",
    "busy",
    "polls",
    "idle",
    "keys",
    "reuses",
    "held",
    "queued",
)


def snapshot(handler: ProxyHandler, metrics: Metrics) -> dict[str, Any]:
    """Lists of ``[labels, value]`` by name."""
    metrics.fold()
    now: dict[str, Counter[tuple[str, ...]]] = {name: Counter() for name in _NOW}
    _look_at_clients(handler, now)
    servers: list[dict[str, Any]] = []
    for pool in handler.generation.pools.values():
        held, queued = pool.lobby.waiting if pool.lobby is not None else (0, 0)
        now["held"][pool.name,] += held
        now["queued"][pool.name,] += queued
        _look_at_servers(pool, now, servers)
    counts = {
        "accepted": {(): handler.accepted.count},
        "refusals": {(status,): count for status, count in metrics.refusals.items()},
        "ends": metrics.ends,
        "events": metrics.events,
        "failures": metrics.failures,
        "misroutes": handler.misroutes.counts,
        "reuses": _reuses(now.pop("reuses"), metrics),
        **_collector(),
    }
    return {
        "pid": os.getpid(),
        "counts": {name: _listed(values) for name, values in counts.items()},
        "cells": {"totals": _listed(metrics.totals), "late": _listed(metrics.late)},
        "now": {name: _listed(values) for name, values in now.items()},
        "servers": servers,
        "errors": {fault: list(errors) for fault, errors in metrics.errors.items()},
    }


def _look_at_clients(handler: ProxyHandler, now: dict[str, Counter[tuple[str, ...]]]) -> None:
    now["connections"].update({(state,): 0 for state in ("reading", "writing", "waiting")})
    for connection in handler.connections:
        exchanges = exchanges_of(connection)
        if not exchanges:  # one that is in its TLS handshake has none yet
            reading = getattr(connection, "head_started", True)
            now["connections"]["reading" if reading else "waiting",] += 1
            continue
        now["connections"]["writing",] += 1
        for exchange in exchanges:
            _look_at_request(exchange, now)


def _look_at_request(exchange: Any, now: dict[str, Counter[tuple[str, ...]]]) -> None:
    now["in_flight"][exchange.route.name if exchange.route is not None else "",] += 1
    if exchange.server is not None:
        pool = exchange.pool
        key = pool.name, pool.settings.servers[exchange.index].address
        now["busy"][key] += 1
        now["reuses"][key] += max(0, exchange.server.requests - 1)
        # A sync that waits for news has no answer yet.
        if not exchange.status and wait_parameter(exchange.method, exchange.target).strip(b"0"):
            now["polls"][key] += 1


def _look_at_servers(
    pool: ServerPool, now: dict[str, Counter[tuple[str, ...]]], servers: list[dict[str, Any]]
) -> None:
    homes = pool.balancer.homes()
    for index, server in enumerate(pool.settings.servers):
        key = pool.name, server.address
        now["idle"][key] += pool.idle_at(index)
        now["reuses"][key] += max(0, pool.reuses_at(index))
        if pool.balancer.sticky:
            now["keys"][key] += homes.get(index, 0)
        servers.append(
            {
                "pool": pool.name,
                "server": server.address,
                "status": Status.DOWN if server.down else pool.balancer.health(index),
                "drained": pool.balancer.drained(index),
                "reason": pool.reason(index),
            }
        )


def _collector() -> dict[str, dict[tuple[str, ...], int]]:
    """What the garbage collector has done, by generation."""
    stats = list(enumerate(gc.get_stats()))
    return {
        f"gc_{name}": {(str(generation),): stat[name] for generation, stat in stats}
        for name in ("collections", "collected", "uncollectable")
    }


def _reuses(seen: Counter[tuple[str, ...]], metrics: Metrics) -> dict[tuple[str, ...], int]:
    for key, count in seen.items():
        metrics.reuses[key] = max(count, metrics.reuses.get(key, 0))
    return metrics.reuses


def _listed(values: Any) -> list[Any]:
    return [[list(labels), value] for labels, value in values.items()]
