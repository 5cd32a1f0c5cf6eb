"""Where our own log goes decides how its lines look."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from synproxy.runtime.logs import to_journal

PROGRAM = """
import logging
from synproxy.runtime import logs
logs.set_up()
log = logging.getLogger("synproxy.x")
log.info("hello")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("no")
"""


def written(directory: Path, stream: str | None) -> list[str]:
    """What the program says, to a file whose identity is in JOURNAL_STREAM if it is ``right``."""
    with (directory / "log").open("wb") as file:
        status = os.fstat(file.fileno())
        right = f"{status.st_dev}:{status.st_ino}"
        told = {} if stream is None else {"JOURNAL_STREAM": stream.replace("right", right)}
        environment = {**os.environ, **told}
        subprocess.run([sys.executable, "-c", PROGRAM], stderr=file, env=environment, check=True)
    return (directory / "log").read_text().splitlines()


def test_the_journal_gets_a_line_for_each_message_with_its_priority(tmp_path: Path) -> None:
    hello, no = written(tmp_path, "right")
    assert hello == "<6>hello"
    assert no.startswith("<3>no | Traceback (most recent call last): | ")
    assert no.endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize("stream", [None, "1:1", "8:"])
def test_anything_else_gets_lines_with_the_time_as_nginx_writes_them(
    stream: str | None, tmp_path: Path
) -> None:
    lines = written(tmp_path, stream)
    assert lines[0][4:5] + lines[0][19:] == "/ [INFO] hello"
    assert len(lines) > 2


def test_a_descriptor_that_is_closed_is_no_journal() -> None:
    assert not to_journal(-1)
