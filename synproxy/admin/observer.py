"""Asks the children what they have counted, and remembers the last minutes of it.

A service of the supervisor, with or without an admin listener. Must not know HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Protocol

from synproxy.admin.history import INTERVAL, History, Sample
from synproxy.admin.overview import overview
from synproxy.admin.totals import Totals

if TYPE_CHECKING:
    from synproxy.config.model import Config
    from synproxy.runtime.interventions import Interventions


class Source(Protocol):
    """Where the facts come from; :class:`synproxy.runtime.supervisor.Supervisor`."""

    config: Config
    interventions: Interventions

    async def ask_all(self, question: str, within: float = 10.0) -> list[dict[str, Any]]: ...

    def facts(self) -> dict[str, Any]: ...

    async def drain(self, server: str) -> dict[str, Any]: ...

    async def undrain(self, server: str) -> dict[str, Any]: ...

    async def maintain(self, arguments: dict[str, Any]) -> dict[str, Any]: ...


class Observer:
    """Sums over all children, and their history."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.totals = Totals()
        self.history = History(Sample(time.monotonic()))
        self._busy = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look at the children from time to time, so that there is a history to show."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """Look no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _watch(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(INTERVAL)

    async def look(self) -> None:
        """Ask all children now."""
        async with self._busy:
            totals = self.totals
            totals.update(await self.source.ask_all("snapshot"))
            counted = totals.counted()
            failures = counted["counts"].get("failures", {})
            self.history.add(Sample.taken(time.monotonic(), counted["cells"], failures))

    async def overview(self) -> dict[str, Any]:
        """How things stand."""
        await self.look()
        source = self.source
        return overview(source.config, source.facts(), self.totals, self.history)
