"""(b) The seed's gzip setting on syncs of 1, 8, 80 and 800 kB."""

from __future__ import annotations

from functools import partial

from bench.lib.result import Row, Sample
from bench.lib.setup import Setup
from bench.lib.stage import Case, Stage
from bench.workloads import sync

SIZES = {"1k": 1_000, "8k": 8_000, "80k": 80_000, "800k": 800_000}
MIX = (*[SIZES["1k"]] * 16, *[SIZES["8k"]] * 8, *[SIZES["80k"]] * 3, SIZES["800k"])


def run(stage: Stage, row: str, sizes: tuple[int, ...]) -> list[Sample]:
    checker = stage.checker(sizes=sizes)
    return [stage.under_load(row, lambda seconds: sync.wrk(stage, seconds), checker)]


def _case(name: str, title: str, sizes: tuple[int, ...], usual: bool) -> Case:
    row = Row(name.replace("/", " "), title, "us/request")
    work = partial(run, row=row.key, sizes=sizes)
    return Case(name, (row,), work, Setup(gzip=True), sizes, usual)


CASES = (
    _case("b", "gzip 2: 1, 8, 80, 800 kB as 16:8:3:1", MIX, usual=True),
    *(
        _case(f"b/{name}", f"gzip 2: {size // 1000} kB", (size,), usual=False)
        for name, size in SIZES.items()
    ),
)
