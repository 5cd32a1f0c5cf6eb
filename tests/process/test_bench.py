"""The benchmarks as a program: what needs no load generator, against nginx and synproxy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.lib.result import loads

ROOT = Path(__file__).resolve().parents[2]
BENCH = [sys.executable, "-m", "bench", "--quick", "--proxies", "nginx,synproxy"]


def test_a_quick_run_leaves_table_picture_and_samples(tmp_path: Path) -> None:
    command = [*BENCH, "--only", "d,j", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    results = loads((tmp_path / "results.json").read_text())
    rows = {row.key for row in results.rows}
    assert rows == {"d down", "d down memory", "d up", "d up memory", "j p50", "j p99"}
    for row in rows:
        for proxy in ("nginx", "synproxy"):
            (sample,) = results.samples(row, proxy)
            assert sample.valid, sample
            assert sample.checked
    text = (tmp_path / "results.md").read_text()
    assert text == done.stdout
    assert "INVALID" not in text
    assert (tmp_path / "cost.png").stat().st_size > 10_000
