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
    yield _gauge("children", "Serving processes.", [], {(): len(facts["children"])})
    yield _counter("config_reloads", "By result.", ["result"], _reloads(facts))
    yield _gauge(
        "config_last_reload_successful",
        "1 unless the last reload failed.",
        [],
        {(): int(not facts["failure"])},
    )
    yield _counter("connections_accepted", "From clients.", [], counts.get("accepted", {}))
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
        _summed(
            [
                *(((p, s, c), _number(cell)) for (_, p, s, _, c), cell in totals_by.items() if s),
                *((key, _number(cell)) for key, cell in late.items()),
            ]
        ),
    )
    failures = counts.get("failures", {})
    about = ["upstream", "server", "reason"]
    connect = {key: count for key, count in failures.items() if key[2] in _CONNECT}
    others = {key: count for key, count in failures.items() if key[2] not in _CONNECT}
    yield _counter("upstream_connect_errors", "No connection.", about, connect)
    yield _counter("upstream_errors", "Attempts that failed later.", about, others)
    yield from _events(counts.get("events", {}))
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


def _counter(name: str, text: str, labels: Iterable[str], values: dict[Any, float]) -> Metric:
    family = CounterMetricFamily(f"synproxy_{name}", text, labels=list(labels))
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _gauge(name: str, text: str, labels: Iterable[str], values: dict[Any, float]) -> Metric:
    family = GaugeMetricFamily(f"synproxy_{name}", text, labels=list(labels))
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(name: str, text: str, cells: dict[tuple[str, ...], list[float]]) -> Metric:
    family = HistogramMetricFamily(f"synproxy_{name}", text, labels=["route"])
    for labels, cell in cells.items():
        buckets, so_far = [], 0.0
        for limit, count in zip(_LIMITS, cell, strict=False):
            so_far += count
            buckets.append((limit, so_far))
        family.add_metric(labels, buckets, cell[SUM])
    return family
