"""(h) HTTP/2 over TLS: syncs as in a, ten streams at a time on each of 16 connections."""

from __future__ import annotations

import json
import subprocess

from bench.lib import load, matrix
from bench.lib.result import Row, Sample
from bench.lib.setup import Setup
from bench.lib.stage import Case, Stage

ROW = Row("h", "as a, HTTP/2 over TLS (h2load)", "us/request")
STREAMS = 160


def run(stage: Stage) -> list[Sample]:
    targets = [
        f"/_matrix/client/v3/sync?since=s{number}_757284974_{'4483' * (number % 4)}&timeout=0"
        for number in range(72594, 73594)
    ]

    def syncs(seconds: int) -> load.Load:
        return load.h2load(stage.url, targets, seconds, stage.clients, stage.directory)

    sample = stage.under_load(ROW.key, syncs, stage.checker(), in_flight=STREAMS)
    problem = _wrong(stage)  # h2load counts answers, it does not read them
    return [sample if not problem else Sample(ROW.key, stage.proxy.name, None, problems=(problem,))]


def _wrong(stage: Stage) -> str:
    """One answer over HTTP/2, read by curl; what is wrong with it, empty: nothing."""
    url = f"{stage.url}/_matrix/client/v3/sync?since=check1&timeout=0"
    command = ["curl", "-sS", "--http2", "--cacert", f"{stage.directory}/cert.pem"]
    command += ["-w", "\n%{http_version} %{http_code}", "-H", f"Host: {matrix.HOST}", url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    body, _, protocol = done.stdout.rpartition("\n")
    if protocol != "2 200":
        return f"curl --http2: {protocol} {done.stderr}"
    try:
        got = matrix.unseal(body.encode())["next_batch"]
    except (ValueError, KeyError, json.JSONDecodeError) as error:
        return f"curl --http2: {error}"
    return "" if got == "check1_next" else f"curl --http2: the answer of {got}"


CASES = (
    Case(
        "h",
        (ROW,),
        run,
        Setup(tls=True, http2=True),
        tools=(("h2load", "nghttp2-client"), ("curl", "curl")),
    ),
)
