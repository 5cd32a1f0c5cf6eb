"""Matrix users of bench/locustfile.py before the demo: a few seconds, on loopback only."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.demo import running_demo

ROOT = Path(__file__).resolve().parents[2]
LOCUST = [sys.executable, "-m", "locust", "-f", "bench/locustfile.py", "--headless", "--json"]
REQUESTS = {
    *("POST login", "GET sync (initial)", "GET sync (long poll)", "POST createRoom"),
    *("PUT send", "GET messages", "POST upload", "GET download (missing)"),
    *("PUT federation send", "GET federation event"),
}


@pytest.fixture
def demo() -> Iterator[str]:
    """The URL of a running ``synproxy demo``."""
    with running_demo("--duration", "60") as shown:
        url = re.search(r"http://127\.0\.0\.1:\d+", shown)
        assert url is not None
        yield url[0]


def test_every_kind_of_request_comes_through_the_demo_and_none_fails(demo: str) -> None:
    pace = ["--think-time", "0.1", "--sync-timeout", "300", "--media-bytes", "20000"]
    command = [*LOCUST, "--host", demo, "-u", "8", "-r", "8", "-t", "8s", *pace]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    rows = json.loads(done.stdout)
    assert {row["name"] for row in rows} == REQUESTS
    assert [row["name"] for row in rows if row["num_failures"]] == []
    assert done.returncode == 0


def test_a_proxy_that_answers_nothing_fails_the_run() -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        host = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        with subprocess.Popen(
            [*LOCUST, "--host", host, "-u", "1"], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as child:
            for _ in range(3):
                proxy.accept()[0].close()
            child.send_signal(signal.SIGTERM)
            rows = json.loads(child.communicate(timeout=60)[0])
    assert rows
    assert all(row["num_failures"] == row["num_requests"] for row in rows)
    assert child.returncode == 1
