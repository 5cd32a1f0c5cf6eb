"""What the children of a running synproxy hold."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synproxy.runtime.control import Control


@dataclass(frozen=True)
class Holding:
    """Of one child while nobody asks anything of it. ``rss`` is in KiB."""

    pid: int
    rss: int
    fds: int
    tasks: int
    timers: int
    connections: int
    idle: int

    @property
    def quiet(self) -> bool:
        return not self.connections and not self.idle


async def control(path: Path, question: str) -> dict[str, Any]:
    """Ask the supervisor."""
    _, channel = await asyncio.get_running_loop().create_unix_connection(Control, str(path))
    try:
        return await channel.ask(question, 120.0)
    finally:
        channel.close()


async def holdings(path: Path) -> list[Holding]:
    """Of every child, by process id."""
    state = await control(path, "status")
    found = [
        Holding(
            child["pid"],
            _rss(child["pid"]),
            _descriptors(child["pid"]),
            child["tasks"],
            child["timers"],
            child["connections"],
            sum(child["idle"].values()),
        )
        for child in state["each"]
    ]
    return sorted(found, key=lambda one: one.pid)


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _rss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ProcessLookupError(pid)


async def quiet(path: Path, children: int, patience: float) -> list[Holding]:
    """Wait until no connection is open, of clients or to servers.

    :raises TimeoutError: some stay.
    """
    found: list[Holding] = []
    try:
        async with asyncio.timeout(patience):
            while True:
                found = await holdings(path)
                if len(found) == children and all(one.quiet for one in found):
                    return found
                await asyncio.sleep(0.3)
    except TimeoutError:
        raise TimeoutError(f"not quiet after {patience:g} s: {found}") from None
