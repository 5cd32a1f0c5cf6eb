"""Measures CPU time and memory of a whole process tree, and pins processes to cores.

Knows only Linux's /proc and CPU clocks; it must not know what the processes are.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CPU_SOURCE = (
    "total: the kernel's process CPU clock (clock_gettime on clock_getcpuclockid(pid), "
    "nanoseconds, all threads, the whole process tree); user and sys: that total, split in the "
    "ratio of utime and stime in /proc/PID/stat (10 ms ticks)"
)
_TICK = 1 / os.sysconf("SC_CLK_TCK")
_CPUCLOCK_SCHED = 2  # include/linux/posix-timers.h


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds."""

    user: float
    system: float
    total: float

    def __sub__(self, other: Cpu) -> Cpu:
        total = self.total - other.total
        user, system = self.user - other.user, self.system - other.system
        share = user / (user + system) if user + system > 0 else 0.0
        return Cpu(total * share, total * (1 - share), total)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. ``pss`` counts a page shared by n processes 1/n times."""

    rss: int
    pss: int
    private: int


def tree(root: int) -> list[int]:
    """``root`` and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(_stat(int(entry))[0], []).append(int(entry))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += children.get(pid, [])
    return found


def cpu(pids: list[int]) -> Cpu:
    """What these processes have used since their start."""
    user = system = total = 0.0
    for pid in pids:
        _, ticks_user, ticks_system = _stat(pid)
        user += ticks_user * _TICK
        system += ticks_system * _TICK
        total += time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)
    return Cpu(user, system, total)


def memory(pids: list[int]) -> Memory:
    """Sums of /proc/PID/smaps_rollup."""
    rss = pss = private = 0
    for pid in pids:
        fields = _kilobytes(Path(f"/proc/{pid}/smaps_rollup"))
        rss += fields["Rss"]
        pss += fields["Pss"]
        private += fields["Private_Clean"] + fields["Private_Dirty"]
    return Memory(rss, pss, private)


def reset_peak(pids: list[int]) -> None:
    """Sets VmHWM back to the present RSS (proc(5), clear_refs)."""
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_rss(pids: list[int]) -> int:
    """Sum of VmHWM, bytes."""
    return sum(_kilobytes(Path(f"/proc/{pid}/status"))["VmHWM"] for pid in pids)


def current_rss(pids: list[int]) -> int:
    """Sum of VmRSS, bytes."""
    return sum(_kilobytes(Path(f"/proc/{pid}/status"))["VmRSS"] for pid in pids)


@contextlib.contextmanager
def pinned(cores: Sequence[int]) -> Iterator[None]:
    """We, and processes started inside, run on these cores only (they inherit it)."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def busy(cores: Sequence[int]) -> float:
    """Seconds for which these cores have worked for anybody since boot (proc(5), /proc/stat)."""
    total = 0.0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            total += (user + nice + system + irq + softirq + steal) * _TICK
    return total


def _stat(pid: int) -> tuple[int, int, int]:
    """Parent, utime and stime in ticks (proc(5); the name may hold spaces and parentheses)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1]), int(fields[11]), int(fields[12])


def _kilobytes(path: Path) -> dict[str, int]:
    found = {}
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            found[name] = int(value[:-3]) * 1024
    return found
