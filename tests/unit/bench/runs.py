"""Made-up runs of the benchmarks."""

from __future__ import annotations

from bench.lib.result import Results, Row, Sample

ROWS = [
    Row("a", "syncs", "us/request"),
    Row("g kept", "TLS", "us/request"),
    Row("d down memory", "growth", "MiB", relative=False),
]


def sample(row: str, proxy: str, cost: float | None, *problems: str, absent: str = "") -> Sample:
    return Sample(
        row,
        proxy,
        cost,
        user=None if cost is None else cost / 4,
        rate=None if cost is None else 1e6 / cost,
        p50=0.25,
        p99=1.5,
        memory=20 << 20,
        foreign=0.02,
        checked=10,
        problems=problems,
        absent=absent,
    )


def run(*pairs: tuple[float, float]) -> Results:
    """A round for each pair: what a request costs in nginx and in synproxy."""
    rounds = [
        [
            sample("a", "nginx", nginx),
            sample("a", "synproxy", ours),
            sample("g kept", "nginx", 2 * nginx),
            sample("g kept", "synproxy", None, absent="not yet"),
            sample("d down memory", "nginx", 0.1),
            sample("d down memory", "synproxy", 0.7),
        ]
        for nginx, ours in pairs
    ]
    return Results(["a machine"], list(ROWS), rounds, ["nginx: as it is"])
