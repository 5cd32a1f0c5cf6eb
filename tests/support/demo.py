"""A running ``synproxy demo``, and what it has printed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

DEMO = [sys.executable, "-m", "synproxy", "demo", "--port", "0"]


@contextmanager
def running_demo(*arguments: str) -> Iterator[str]:
    """The tour that it prints once it serves. It ends with the block, by SIGTERM and in peace."""
    command = [*DEMO, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        shown = ""
        while "Ctrl-C ends." not in shown:
            line = child.stdout.readline()
            assert line, shown
            shown += line
        yield shown
        child.send_signal(signal.SIGTERM)
        child.wait(30)
    assert child.returncode == 0
