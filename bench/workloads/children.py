"""(i) One process and two: what a second core gives."""

from __future__ import annotations

from functools import partial

from bench.lib.result import Row, Sample
from bench.lib.setup import Setup
from bench.lib.stage import Case, Stage
from bench.workloads import sync


def run(stage: Stage, row: str) -> list[Sample]:
    return [stage.under_load(row, lambda seconds: sync.wrk(stage, seconds), stage.checker())]


def _case(processes: int, word: str) -> Case:
    row = Row(f"i {word}", f"as a, {word} process{'es' if processes > 1 else ''}", "us/request")
    work = partial(run, row=row.key)
    return Case(f"i/{word}", (row,), work, Setup(processes=processes), all_cores=True)


CASES = (_case(1, "one"), _case(2, "two"))
