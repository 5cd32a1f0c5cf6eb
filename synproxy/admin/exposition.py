"""The metrics that Prometheus reads, made of sums; ``docs/metrics.md`` says what each means.

Paths and users are never labels. Must not know where the sums come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from synproxy import __version__
from synproxy.core.health import Status
from synproxy.observe.metrics import BOUNDS, RECEIVED, SENT, SUM

if TYPE_CHECKING:
    from synproxy.admin.totals import Totals

_CONNECT: Final = ("connect", "refused", "connect_timeout", "exhausted")
_LIMITS: Final = [*map(str, BOUNDS), "+Inf"]


def families(totals: Totals, facts: dict[str, Any]) -> Iterator[Metric]:
    """All metrics. ``facts``: the supervisor's."""
    counted = totals.counted()
    counts, cells, now = counted["counts"], counted["cells"], totals.now
    yield _gauge("build_info", "The version.", ["version"], {(__version__,): 1})
    yield _gauge("up", "1: a child serves.", [], {(): int(bool(facts["children"]))})
    yield _gauge("start_time_seconds", "Unix time.", [], {(): facts["started"]})
    yield _counter("child_restarts", "After crashes.", [], {(): facts["restarts"]})
    yield _gauge("children", "Serving processes.", [], {(): len(facts["children"])})
    yield _counter("config_reloads", "By result.", ["result"], _reloads(facts))
    yield _gauge(
        "config_last_reload_successful",
        "1 unless the last reload failed.",
        [],
        {(): int(not facts["failure"])},
    )
    yield _gauge(
        "config_last_reload_success_timestamp_seconds",
        "When the configuration in use was loaded.",
        [],
        {(): facts["loaded"]},
    )
    yield from _tls(totals.tls)
    yield _counter("connections_accepted", "From clients.", [], counts.get("accepted", {}))
    yield _counter(
        "connections_turned_away", "By reason.", ["reason"], counts.get("turned_away", {})
    )
    yield _counter(
        "connections_closed_for_room", "Idle ones, at the limit.", [], counts.get("made_room", {})
    )
    yield _gauge("connections", "Clients' by state.", ["state"], now.get("connections", {}))
    yield _gauge("http_requests_in_flight", "By route.", ["route"], now.get("in_flight", {}))
    totals_by = cells.get("totals", {})
    late = cells.get("late", {})
    yield _counter(
        "http_requests",
        "Answered, by route, pool, method and status (499: the client left).",
        ["route", "upstream", "method", "code"],
        _summed((((r, p, m, c), _number(cell)) for (r, p, _, m, c), cell in totals_by.items())),
    )
    by_route: dict[tuple[str, ...], list[float]] = {}
    for (route, *_), cell in totals_by.items():
        old = by_route.get((route,))
        by_route[route,] = cell if old is None else [a + b for a, b in zip(old, cell, strict=True)]
    yield _histogram("http_request_duration_seconds", "From its head to its end.", by_route)
    for name, place in (("request", RECEIVED), ("response", SENT)):
        sizes = SummaryMetricFamily(
            f"synproxy_http_{name}_size_bytes", "Bodies, by route.", labels=["route"]
        )
        for labels, cell in by_route.items():
            sizes.add_metric(labels, int(_number(cell)), cell[place])
        yield sizes
    yield _counter("http_requests_ended", "Not well.", ["route", "reason"], counts.get("ends", {}))
    yield _counter("http_heads_refused", "By status.", ["code"], counts.get("refusals", {}))
    yield _counter("misroutes", "M_UNRECOGNIZED.", ["route", "method"], counts.get("misroutes", {}))
    yield _counter(
        "upstream_requests",
        "Whole answers of servers.",
        ["upstream", "server", "code"],
        _summed((key, _number(cell)) for key, cell in (*_answered(totals_by), *late.items())),
    )
    failures = counts.get("failures", {})
    about = ["upstream", "server", "reason"]
    connect = {key: count for key, count in failures.items() if key[2] in _CONNECT}
    others = {key: count for key, count in failures.items() if key[2] not in _CONNECT}
    yield _counter("upstream_connect_errors", "No connection.", about, connect)
    yield _counter("upstream_errors", "Attempts that failed later.", about, others)
    yield from _events(counts.get("events", {}))
    by_pool: dict[tuple[str, ...], list[float]] = {}
    for (pool, *_), cell in (*_answered(totals_by), *late.items()):
        old = by_pool.get((pool,))
        by_pool[pool,] = cell if old is None else [a + b for a, b in zip(old, cell, strict=True)]
    yield _histogram(
        "upstream_response_duration_seconds", "Of answers, their last attempt.", by_pool, "upstream"
    )
    yield _counter(
        "upstream_connection_reuses",
        "Requests on connections that had carried another.",
        ["upstream", "server"],
        counts.get("reuses", {}),
    )
    yield _gauge(
        "upstream_keys",
        "Keys seen lately, by the server where they are at home.",
        ["upstream", "server"],
        now.get("keys", {}),
    )
    yield _gauge(
        "upstream_held_syncs", "Wait for news.", ["upstream", "server"], now.get("polls", {})
    )
    yield _gauge(
        "upstream_connections",
        "By state.",
        ["upstream", "server", "state"],
        {(*key, state): n for state in ("busy", "idle") for key, n in now.get(state, {}).items()},
    )
    for name in ("held", "queued"):
        yield _gauge(f"upstream_requests_{name}", "Waiting.", ["upstream"], now.get(name, {}))
    interventions = facts["interventions"]
    yield _gauge("maintenance", "1: clients get 503.", [], {(): int(interventions["maintenance"])})
    yield _gauge(
        "upstream_server_drained",
        "1: gets no new requests.",
        ["upstream", "server"],
        {key: int(key[1] in interventions["drained"]) for key in totals.servers},
    )
    yield _gauge(
        "upstream_server_up",
        "1: every child uses it.",
        ["upstream", "server"],
        {key: int(about["status"] == Status.UP) for key, about in totals.servers.items()},
    )
    for name, text in (
        ("collections", "Times that children collected garbage."),
        ("objects_collected", "Objects collected by children."),
        ("objects_uncollectable", "Objects that children could not collect."),
    ):
        found = counts.get(f"gc_{name.removeprefix('objects_')}", {})
        yield _counter(f"gc_{name}", text, ["generation"], found, prefix="python")


def _answered(
    cells: dict[tuple[str, ...], list[float]],
) -> Iterator[tuple[tuple[str, ...], list[float]]]:
    """What servers have answered at once, by pool, server and code."""
    for (_, pool, server, _, code), cell in cells.items():
        if server:
            yield (pool, server, code), cell


def _tls(listeners: Iterable[dict[str, Any]]) -> Iterator[Metric]:
    handshakes: dict[tuple[str, ...], float] = {}
    failures: dict[tuple[str, ...], float] = {}
    ends: dict[tuple[str, ...], float] = {}
    for one in listeners:
        name = one["listener"]
        for resumed, count in (("yes", one["resumed"]), ("no", one["handshakes"] - one["resumed"])):
            handshakes[name, resumed] = handshakes.get((name, resumed), 0) + count
        for reason, count in one["handshake_failures"].items():
            failures[name, reason] = failures.get((name, reason), 0) + count
        for pair in one["certificates"]:
            ends[name, pair["certificate"]] = pair["not_after"]
    labels = ["listener", "resumed"]
    yield _counter("tls_handshakes", "Of clients, that succeeded.", labels, handshakes)
    labels = ["listener", "reason"]
    yield _counter("tls_handshake_failures", "In OpenSSL's words.", labels, failures)
    yield _gauge(
        "tls_certificate_not_after_timestamp_seconds",
        "When a certificate ends.",
        ["listener", "name"],
        ends,
    )


def _events(events: dict[tuple[str, ...], float]) -> Iterator[Metric]:
    for event, label in (("connect", "server"), ("retry", "reason"), ("fallback", "to")):
        name = {"connect": "connects", "retry": "retries", "fallback": "fallbacks"}[event]
        found = {(pool, what): n for (kind, pool, what), n in events.items() if kind == event}
        yield _counter(f"upstream_{name}", f"{name.title()}.", ["upstream", label], found)
    waits = _summed(
        ((pool, kind), n)
        for (kind, pool, _), n in events.items()
        if kind.startswith(("hold", "queue", "spill", "last"))
    )
    yield _counter("upstream_waits", "By what came of it.", ["upstream", "event"], waits)


def _reloads(facts: dict[str, Any]) -> dict[tuple[str, ...], float]:
    return {("ok",): facts["reloads"], ("failed",): facts["failed_reloads"]}


def _number(cell: list[float]) -> float:
    return sum(cell[:SUM])


def _summed(
    entries: Iterable[tuple[tuple[str, ...], float]],
) -> dict[tuple[str, ...], float]:
    sums: dict[tuple[str, ...], float] = {}
    for key, value in entries:
        sums[key] = sums.get(key, 0) + value
    return sums


def _counter(
    name: str,
    text: str,
    labels: Iterable[str],
    values: dict[Any, float],
    prefix: str = "synproxy",
) -> Metric:
    family = CounterMetricFamily(f"{prefix}_{name}", text, labels=list(labels))
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _gauge(name: str, text: str, labels: Iterable[str], values: dict[Any, float]) -> Metric:
    family = GaugeMetricFamily(f"synproxy_{name}", text, labels=list(labels))
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(
    name: str, text: str, cells: dict[tuple[str, ...], list[float]], label: str = "route"
) -> Metric:
    family = HistogramMetricFamily(f"synproxy_{name}", text, labels=[label])
    for labels, cell in cells.items():
        buckets, so_far = [], 0.0
        for limit, count in zip(_LIMITS, cell, strict=False):
            so_far += count
            buckets.append((limit, so_far))
        family.add_metric(labels, buckets, cell[SUM])
    return family
