"""``make fuzz``: every target and the state machine, each for a bounded time.

``ARGS="--seconds 600 request"`` takes longer and only some. Corpora and findings are kept in
.fuzz; a finding becomes a test with its bytes.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fuzz.machine import ProxyMachine
from tests.fuzz.targets import TARGETS

_ROOT = Path(__file__).resolve().parents[2]
_MACHINE = "machine"
_EXAMPLES = 200


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("target", nargs="*", choices=[*TARGETS, _MACHINE, []])
    options = parser.parse_args()
    failed = []
    for name in options.target or [*TARGETS, _MACHINE]:
        good = _play(options.seconds) if name == _MACHINE else _mutate(name, options.seconds)
        print(f"{name}: {'nothing found' if good else 'FOUND SOMETHING'}", flush=True)
        if not good:
            failed.append(name)
    return 1 if failed else 0


def _mutate(name: str, seconds: int) -> bool:
    """One target in a process of its own, since libFuzzer ends it."""
    directory = _ROOT / ".fuzz"
    directory.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.mutate", name, str(seconds), str(directory)]
    log = directory / f"{name}.log"
    with log.open("wb") as output:
        status = subprocess.run(command, cwd=_ROOT, stdout=output, stderr=output).returncode
    lines = log.read_text(errors="replace").splitlines()
    print("\n".join(line for line in lines if line.startswith("stat::number_of_executed")))
    if status:
        print("\n".join(lines[-40:]))
    return status == 0


def _play(seconds: int) -> bool:
    """The state machine, with other examples each time."""
    logging.getLogger("synproxy").setLevel(logging.CRITICAL)
    end = time.monotonic() + seconds
    plays = 0
    while time.monotonic() < end:
        run_state_machine_as_test(
            ProxyMachine,
            settings=settings(
                max_examples=_EXAMPLES,
                stateful_step_count=60,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        plays += _EXAMPLES
    print(f"{plays} plays")
    return True


sys.exit(main())
