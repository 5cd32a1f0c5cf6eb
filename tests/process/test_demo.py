"""The demo, as somebody who has just installed synproxy runs it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

from synproxy.demo.tour import TOUR

COMMAND = [sys.executable, "-m", "synproxy", "demo", "--port", "0"]


def test_every_request_of_the_tour_lands_where_it_belongs() -> None:
    result = subprocess.run([*COMMAND, "--check"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count(": right\n") == len(TOUR)
    assert "WRONG" not in result.stdout
    assert "403 from synproxy: " in result.stdout


def test_it_serves_until_it_is_ended_and_leaves_nothing_behind() -> None:
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        shown = ""
        while "Ctrl-C ends." not in shown:
            line = child.stdout.readline()
            assert line, shown
            shown += line
        curl = re.search(r"(?m)^curl .*/login$", shown)
        assert curl is not None
        answer = subprocess.run(curl[0], shell=True, capture_output=True, text=True, timeout=30)
        assert '"worker": "login' in answer.stdout
        child.send_signal(signal.SIGTERM)
        child.wait(30)
    assert child.returncode == 0
    directory = re.search(r"/\S*/synproxy-demo-[^/\s]+", shown)
    assert directory is not None
    assert not Path(directory[0]).exists()


def test_it_ends_by_itself_after_its_duration() -> None:
    result = subprocess.run([*COMMAND, "--duration", "0.1"], capture_output=True, timeout=60)
    assert result.returncode == 0
