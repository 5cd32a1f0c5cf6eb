"""(a) Incremental syncs that are answered at once: 1 kB of JSON, 13 fields as a browser's."""

from __future__ import annotations

from bench.lib import load, matrix
from bench.lib.load import Load
from bench.lib.result import Row, Sample
from bench.lib.stage import Case, Stage

ROW = Row("a", "GET /sync, 1 kB of JSON", "us/request")


def requests() -> list[bytes]:
    """``since`` differs in every request, and its length too."""
    stem = "/_matrix/client/v3/sync?since=s{N}_757284974_"
    return [
        matrix.REQUEST_HEAD.format(
            target=f"{stem}{'4483_19567' * number}&timeout=0", token="{TOKEN}"
        ).encode()
        for number in range(4)
    ]


def wrk(stage: Stage, seconds: int) -> Load:
    """Syncs for that long."""
    return load.wrk(stage.url, requests(), seconds, stage.clients, stage.directory)


def run(stage: Stage) -> list[Sample]:
    return [stage.under_load(ROW.key, lambda seconds: wrk(stage, seconds), stage.checker())]


CASES = (Case("a", (ROW,), run),)
