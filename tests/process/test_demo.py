"""The demo, as somebody who has just installed synproxy runs it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from synproxy.demo.tour import TOUR
from tests.support.demo import DEMO, running_demo


def test_every_request_of_the_tour_lands_where_it_belongs() -> None:
    result = subprocess.run([*DEMO, "--check"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count(": right\n") == len(TOUR)
    assert "WRONG" not in result.stdout
    assert "403 from synproxy: " in result.stdout


def test_it_serves_until_it_is_ended_and_leaves_nothing_behind() -> None:
    with running_demo() as shown:
        curl = re.search(r"(?m)^curl .*/login$", shown)
        assert curl is not None
        answer = subprocess.run(curl[0], shell=True, capture_output=True, text=True, timeout=30)
        assert '"worker": "login' in answer.stdout
    directory = re.search(r"/\S*/synproxy-demo-[^/\s]+", shown)
    assert directory is not None
    assert not Path(directory[0]).exists()


def test_it_ends_by_itself_after_its_duration() -> None:
    result = subprocess.run([*DEMO, "--duration", "0.1"], capture_output=True, timeout=60)
    assert result.returncode == 0
