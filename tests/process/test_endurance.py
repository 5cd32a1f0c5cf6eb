"""What issue 5 promises: under load, only what a killed child held is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from tests.integration.harness import becomes_true
from tests.process.endurance import CONFIG, Numbers, end_all, endure, supervisors, until
from tests.support.synproxy import Synproxy


async def test_only_a_killed_child_loses_requests_under_load(sockets: Path) -> None:
    numbers = Numbers(syncs=200, reloads=4, upgrades=2, crashes=2, hold=(1.0, 3.0))
    said: list[str] = []
    report = await endure(sockets, numbers, said.append)
    log = (sockets / "synproxy.out").read_text()
    assert (report.reloads, report.upgrades, report.crashes) == (4, 2, 2), said
    assert report.refused == 0, log
    assert report.failed <= report.held_by_killed, (vars(report), log)
    assert report.requests > 1000
    assert report.syncs > 200
    assert "Traceback" not in log
    one, other = map(int, report.spread.split("/"))
    assert min(one, other) > 10, report.spread  # on a busy machine by far not the half
    lines = (sockets / "access.log").read_text().splitlines()
    assert all(line.count('"GET /') == 1 and "HTTP/1.1" in line for line in lines)


async def test_an_upgrade_that_is_interrupted_leaves_no_supervisor(sockets: Path) -> None:
    proxy = Synproxy(sockets, CONFIG)
    await asyncio.to_thread(proxy.start)
    await until(lambda state: len(state["children"]) == 2, sockets / "control.sock")
    os.kill(proxy.pid, signal.SIGUSR2)
    # The new program has begun, and is in no pid file yet.
    await becomes_true(lambda: len(supervisors(proxy)) == 2)
    await end_all(proxy)
    assert not supervisors(proxy)
    assert not (sockets / "control.sock").exists()
