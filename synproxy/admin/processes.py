"""What the kernel says of our processes, all together, under the names that Prometheus gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

_SUMS = {
    "process_resident_memory_bytes": "Of all processes; what they share counts in each.",
    "process_virtual_memory_bytes": "Of all processes.",
    "process_open_fds": "Of all processes.",
}


def process_families(pids: Iterable[int]) -> Iterator[Metric]:
    """Sums over processes, of which those that have gone meanwhile are left out."""
    sums: dict[str, float] = {}
    for pid in pids:
        collector = ProcessCollector(pid=_always(pid), registry=None)
        for family in collector.collect():
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    for name, text in _SUMS.items():
        if name in sums:
            yield GaugeMetricFamily(name, text, value=sums[name])
    if "process_cpu_seconds_total" in sums:
        text = "User and system time of all processes that are there."
        yield CounterMetricFamily("process_cpu_seconds", text, sums["process_cpu_seconds_total"])


def _always(pid: int) -> Callable[[], int]:
    return lambda: pid
