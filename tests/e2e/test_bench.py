"""The benchmark of latency before a real Synapse worker runs, and its answers are right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.lib.result import loads
from tests.support.paths import ROOT


def test_the_latency_that_synproxy_adds_is_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "--quick", "--only", "j/synapse"]
    command += ["--proxies", "synproxy", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    results = loads((tmp_path / "results.json").read_text())
    (sample,) = results.samples("j synapse p50", "synproxy")
    assert sample.valid
    assert sample.checked > 50
