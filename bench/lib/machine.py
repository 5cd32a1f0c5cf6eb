"""What the figures depend on: machine, kernel, versions, load."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


def facts(
    versions: Mapping[str, Sequence[str]], interpreters: Mapping[str, Sequence[str]]
) -> list[str]:
    """A line for each fact; ``versions``: commands that print the versions of the proxies;
    ``interpreters``: what they are, and the proxies that they run."""
    fields: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    loads = " ".join(f"{load:.1f}" for load in os.getloadavg())
    found = [
        time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        f"{fields.get('model name', 'unknown CPU')}, {os.cpu_count()} cores, {memory:.0f} GiB",
        f"{platform.system()} {platform.release()}, load averages before the run {loads}",
        *(f"{', '.join(names)}: run by {what}" for what, names in interpreters.items()),
    ]
    for name, command in versions.items():
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).strip().splitlines()
        first = lines[0].removeprefix("nginx version: ") if lines else "version unknown"
        found.append(first if name in first.lower() else f"{name} {first}")
    return found
