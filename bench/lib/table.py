"""Markdown tables, spreads of several rounds, and the description of the machine."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median, with the least and the greatest when there are several rounds."""
    median = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return median
    return f"{median} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns line up in plain text too; all but the first to the right."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def text(cells: list[str]) -> str:
        first = cells[0].ljust(widths[0])
        others = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join([first, *others])} |"

    return "\n".join(text(line) for line in (lines[0], rule, *lines[1:])) + "\n"


def environment(commands: dict[str, list[str]], interpreter: str) -> str:
    """What the numbers depend on: machine, kernel, versions. ``commands`` print versions."""
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    load = os.getloadavg()[0]
    facts = [
        time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        f"{model}, {os.cpu_count()} cores, load average at the end {load:.1f}",
        f"Linux {platform.release()}",
        f"synproxy's interpreter: {interpreter}",
    ]
    for name, command in commands.items():
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).strip().splitlines()
        facts.append(f"{name}: {lines[0].removeprefix('nginx version: ')}" if lines else name)
    return "".join(f"- {fact}\n" for fact in facts)


def write(name: str, text: str) -> Path:
    """Writes ``bench/results/NAME`` and shows it."""
    path = Path(__file__).resolve().parent.parent / "results" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    sys.stdout.write(text)
    return path
