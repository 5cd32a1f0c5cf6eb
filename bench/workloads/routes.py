"""(e) 200 routes instead of 10, and 32 sync workers instead of 3."""

from __future__ import annotations

from bench.lib.result import Row, Sample
from bench.lib.setup import Setup
from bench.lib.stage import Case, Stage
from bench.workloads import send, sync

SYNC = Row("e sync", "as a, 200 routes, 32 sync workers", "us/request")
SEND = Row("e send", "as c, 200 routes", "us/request")


def run(stage: Stage) -> list[Sample]:
    """The path of a sync is always the same, that of a message never."""
    return [
        stage.under_load(SYNC.key, lambda seconds: sync.wrk(stage, seconds), stage.checker()),
        stage.under_load(
            SEND.key, lambda seconds: send.wrk(stage, seconds), stage.checker(sends=True)
        ),
    ]


CASES = (Case("e", (SYNC, SEND), run, Setup(routes=200, sync_servers=32)),)
