"""(g) TLS 1.3, ECDSA P-256: requests on kept connections, and a new connection for each."""

from __future__ import annotations

from bench.lib.handshakes import handshakes
from bench.lib.load import Load
from bench.lib.result import Row, Sample
from bench.lib.setup import Setup
from bench.lib.stage import Case, Stage
from bench.workloads import sync

KEPT = Row("g kept", "as a, over TLS, keep-alive", "us/request")
FULL = Row("g full", "TLS, a full handshake each", "us/request")
RESUMED = Row("g resumed", "TLS, a resumed handshake each", "us/request")


def run(stage: Stage) -> list[Sample]:
    samples = [
        stage.under_load(KEPT.key, lambda seconds: sync.wrk(stage, seconds), stage.checker())
    ]
    for row, resume in ((FULL, False), (RESUMED, True)):

        def load(seconds: int, resume: bool = resume) -> Load:
            return handshakes(stage.port, seconds, stage.directory, resume=resume)

        samples.append(stage.under_load(row.key, load, stage.checker()))
    return samples


CASES = (Case("g", (KEPT, FULL, RESUMED), run, Setup(tls=True)),)
