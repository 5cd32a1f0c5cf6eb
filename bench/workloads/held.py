"""(f) Thousands of held syncs: memory each, and what other requests cost meanwhile."""

from __future__ import annotations

import asyncio
from functools import partial

import uvloop

from bench.lib import poll, procs
from bench.lib.result import Row, Sample
from bench.lib.stage import Case, Stage
from bench.workloads import sync

SETTLE = 2.0
"""Seconds for which all are held before the memory is read."""


def run(stage: Stage, count: int) -> list[Sample]:
    """Holds ``count`` syncs, measures other requests, then has all answered."""
    return uvloop.run(_run(stage, count))


async def _run(stage: Stage, count: int) -> list[Sample]:
    pids = stage.running.pids()
    # What the first requests leave behind (caches, connections) is not the held syncs' own.
    await asyncio.to_thread(sync.wrk, stage, 1)
    before = procs.memory(pids).pss
    held = poll.Held(stage.port, stage.directory)
    await held.hold(count)
    await asyncio.sleep(SETTLE)
    memory = procs.memory(pids).pss
    others = await asyncio.to_thread(
        stage.under_load,
        f"f {count} others",
        lambda seconds: sync.wrk(stage, seconds),
        stage.checker(),
    )
    problems = tuple(await held.release())
    each = Sample(
        f"f {count} memory",
        stage.proxy.name,
        (memory - before) / count / 1000,
        memory=memory,
        checked=count,
        problems=problems,
    )
    return [each, others]


def _case(count: int) -> Case:
    rows = (
        Row(f"f {count} memory", f"{count} held syncs: memory each", "kB/sync"),
        Row(f"f {count} others", f"as a, beside {count} held syncs", "us/request"),
    )
    return Case(f"f/{count}", rows, partial(run, count=count), quick=count <= 1000)


CASES = tuple(_case(count) for count in (100, 1000, 5000, 9000))
