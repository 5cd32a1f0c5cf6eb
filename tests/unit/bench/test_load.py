"""What wrk and h2load say."""

from __future__ import annotations

import pytest

from bench.lib.load import Load, read_h2load, read_wrk

WRK = """\
Running 1s test @ http://127.0.0.1:8008
{"requests": 2000, "seconds": 1.25, "p50_us": 410, "p99_us": 1660, \
"connect": 0, "read": 0, "write": 0, "timeout": 0, "status": 0}
"""
H2LOAD = """\
requests: 300 total, 300 started, 300 done, 300 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 300 2xx, 0 3xx, 0 4xx, 0 5xx
"""
LOG = "1795569727000000\t200\t1000\n1795569727000001\t200\t3000\n1795569727000002\t200\t2000\n"


def test_wrk_tells_requests_and_latencies() -> None:
    assert read_wrk(WRK) == Load(2000, 1.25, 0.41, 1.66, ())


@pytest.mark.parametrize("kind", ["connect", "read", "write", "timeout", "status"])
def test_every_error_that_wrk_counts_is_a_problem(kind: str) -> None:
    counted = read_wrk(WRK.replace(f'"{kind}": 0', f'"{kind}": 7'))
    assert counted.problems == (f"wrk counted 7 {kind} errors",)


def test_h2load_tells_requests_and_its_log_the_latencies() -> None:
    assert read_h2load(H2LOAD, LOG, 2) == Load(300, 2, 2.0, 3.0, ())


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("0 failed", "2 failed", "h2load counted 2 failed and 0 errored"),
        ("0 errored", "3 errored", "h2load counted 0 failed and 3 errored"),
        ("0 5xx", "4 5xx", "answers that are not 2xx: status codes: 300 2xx, 0 3xx, 0 4xx, 4 5xx"),
        ("0 3xx", "4 3xx", "answers that are not 2xx: status codes: 300 2xx, 4 3xx, 0 4xx, 0 5xx"),
    ],
)
def test_every_failure_that_h2load_counts_is_a_problem(old: str, new: str, problem: str) -> None:
    assert read_h2load(H2LOAD.replace(old, new), LOG, 2).problems == (problem,)


def test_what_h2load_did_not_write_is_refused() -> None:
    with pytest.raises(ValueError, match="not the output of h2load: oops"):
        read_h2load("oops", "", 1)
