"""What the kernel says of our processes: all together under Prometheus' names, and each child."""

from __future__ import annotations

import platform
import resource
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector

_CPU = "process_cpu_seconds_total"
_GAUGES = {
    "process_resident_memory_bytes": "What processes share counts in each.",
    "process_virtual_memory_bytes": "Address space.",
    "process_open_fds": "Open file descriptors.",
    "process_max_fds": "How many may be open.",
}


def process_families(
    main: int, children: dict[str, int], draining: Iterable[int]
) -> Iterator[Metric]:
    """Sums over the main process and all children, and those that serve by their number
    (``children``: numbers to process ids). Processes that have gone meanwhile are left out."""
    own = _facts(main)
    each = {number: _facts(pid) for number, pid in children.items()}
    sums = Counter(own)
    for facts in (*each.values(), *map(_facts, draining)):
        sums.update(facts)
    for name, text in _GAUGES.items():
        if name in sums:
            yield GaugeMetricFamily(name, f"Of all processes. {text}", value=sums[name])
    if "process_start_time_seconds" in own:
        text = "Of the main process, unix time."
        yield GaugeMetricFamily(
            "process_start_time_seconds", text, own["process_start_time_seconds"]
        )
    if _CPU in sums:
        # With those that have ended: a counter that falls would look like a restart.
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = sums[_CPU] + ended.ru_utime + ended.ru_stime
        yield CounterMetricFamily(_CPU, "User and system time of all processes.", cpu)
    family: GaugeMetricFamily | CounterMetricFamily
    for name, text in {_CPU: "User and system time.", **_GAUGES}.items():
        kind = CounterMetricFamily if name == _CPU else GaugeMetricFamily
        family = kind(name.replace("process", "synproxy_child", 1), text, labels=["child"])
        for number, facts in each.items():
            if name in facts:
                family.add_metric([number], facts[name])
        yield family
    version = {
        "version": platform.python_version(),
        "implementation": platform.python_implementation(),
    }
    yield InfoMetricFamily("python", "What runs synproxy.", value=version)


def _facts(pid: int) -> dict[str, float]:
    families = ProcessCollector(pid=_always(pid), registry=None).collect()
    return {sample.name: sample.value for family in families for sample in family.samples}


def _always(pid: int) -> Callable[[], int]:
    return lambda: pid
