"""(c) Messages: PUT with a body of 50 to 2,000 bytes, another transaction in every request."""

from __future__ import annotations

import random

from bench.lib import load, matrix
from bench.lib.load import Load
from bench.lib.result import Row, Sample
from bench.lib.stage import Case, Stage

ROW = Row("c", "PUT .../send with a body", "us/request")


def requests() -> list[bytes]:
    """The path differs in every request; lengths and texts in 32."""
    rng = random.Random(5)
    return [
        matrix.send_request(
            "m179{N}.1", "{TOKEN}", matrix.send_body(matrix.text(rng.randrange(20, 2000), rng))
        )
        for _ in range(32)
    ]


def wrk(stage: Stage, seconds: int) -> Load:
    """Messages for that long."""
    return load.wrk(stage.url, requests(), seconds, stage.clients, stage.directory)


def run(stage: Stage) -> list[Sample]:
    checker = stage.checker(sends=True)
    return [stage.under_load(ROW.key, lambda seconds: wrk(stage, seconds), checker)]


CASES = (Case("c", (ROW,), run),)
