"""(d) Media of 10 MB down and up, one after the other: CPU seconds per GB, and memory."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from functools import partial

import httptools

from bench.lib import procs, transfer
from bench.lib.result import Row, Sample
from bench.lib.stage import Case, Meter, Stage
from bench.lib.transfer import Body

MEBI = 1 << 20
MEDIA = Body(10_000_000)
SLOW = Body(50_000_000, rate=50_000_000)


def run(stage: Stage, name: str, body: Body) -> list[Sample]:
    """Downloads, then uploads."""
    count = max(round(stage.settings.transfers * MEDIA.size / body.size), 1)
    samples = []
    for direction, one in (("down", transfer.download), ("up", transfer.upload)):
        samples += _transfers(stage, f"{name} {direction}", body, one, count)
    return samples


def _transfers(
    stage: Stage,
    row: str,
    body: Body,
    one: Callable[[socket.socket, Body], dict[str, object]],
    count: int,
) -> list[Sample]:
    expected = body.expected()
    pids = stage.running.pids()
    resident = procs.current_rss(pids)
    procs.reset_peak(pids)
    problems: list[str] = []
    meter = Meter(pids, stage.settings)
    began = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", stage.port), timeout=60) as connection:
            for _ in range(count):
                got = one(connection, body)
                if got != expected:
                    problems.append(f"got {got} instead of {expected}")
    except (OSError, ValueError, httptools.HttpParserError) as error:
        problems.append(f"{type(error).__name__}: {error}")
    used, foreign = meter.read()
    seconds = time.monotonic() - began
    growth = (procs.peak_rss(pids) - resident) / MEBI
    gigabytes = count * body.size / 1e9
    memory = procs.memory(pids).pss
    wrong = tuple(dict.fromkeys(problems))
    cpu = Sample(
        row,
        stage.proxy.name,
        used.total / gigabytes,
        user=used.user / gigabytes,
        rate=count / seconds,
        memory=memory,
        foreign=foreign,
        checked=count,
        problems=wrong,
    )
    peak = Sample(f"{row} memory", stage.proxy.name, growth, checked=count, problems=wrong)
    return [cpu, peak]


def _case(name: str, body: Body, what: str, usual: bool) -> Case:
    key = name.replace("/", " ")
    rows = tuple(
        row
        for direction in ("down", "up")
        for row in (
            Row(f"{key} {direction}", f"{what} {direction}", "CPU s/GB"),
            Row(
                f"{key} {direction} memory",
                f"{what} {direction}: growth of the peak",
                "MiB",
                relative=False,
            ),
        )
    )
    return Case(name, rows, partial(run, name=key, body=body), usual=usual, tools=())


CASES = (
    _case("d", MEDIA, "10 MB of media", usual=True),
    _case("d/chunked", Body(MEDIA.size, "chunked"), "10 MB, chunked,", usual=False),
    _case("d/slow", SLOW, "50 MB, receiver at 50 MB/s,", usual=False),
)
