"""One process of the lab: started with a log file, waited for, ended by its process id.

The kernel ends it too (PR_SET_PDEATHSIG) if whoever started it is killed, so nothing is left over.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.lab import tools
from tests.support.lab.tools import LabError

READY_DEADLINE = 90.0
END_DEADLINE = 20.0


def wait_until(condition: Callable[[], bool], what: str, deadline: float = READY_DEADLINE) -> None:
    """Waits for what another process does; raises LabError with ``what`` after ``deadline``."""
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {deadline:g} s")
        time.sleep(0.02)


class Child:
    """A child process. ``user`` is who it runs as, ``None`` for ourselves."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        user: str | None = None,
        end_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.command = [tools.setpriv(), "--pdeathsig", "TERM", *command]
        self.log = log
        self._user = user
        self._end_signal = end_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it; what it writes goes to the end of ``log``. It may not be ready yet.

        For the main thread: to the kernel, whoever started it ends with the thread.
        """
        assert not self.running, f"{self.name} is running already"
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.log.parent,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # Ctrl-C in a terminal must not end it before its users
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
            )

    def wait_ready(self, ready: Callable[[], bool]) -> None:
        """Waits until ``ready``; raises LabError with the last lines of the log if it dies."""

        def ready_or_dead() -> bool:
            return not self.running or ready()

        wait_until(ready_or_dead, f"{self.name} ready")
        if not self.running:
            raise LabError(f"{self.name} did not start:\n{self.last_lines()}")

    def last_lines(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    def kill(self, number: signal.Signals) -> None:
        """Sends it a signal and waits for its end."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(END_DEADLINE)

    def end(self) -> None:
        """Ends it in its own way, or by force after END_DEADLINE. Nothing happens if it has."""
        if not self.running:
            return
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.kill(self._end_signal)
        if self.running:
            self.kill(signal.SIGKILL)
