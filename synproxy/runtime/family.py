"""All children of a supervisor: their start, a reload, who ends, who is started again.

Must not know the supervisor's signals, nor what is in a configuration.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING

from synproxy.runtime.control import ControlError, Facts, ask_all
from synproxy.runtime.offspring import START_TIMEOUT, Offspring, Order, pause_before_restart
from synproxy.runtime.shares import SLOTS, Shares

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("synproxy")


class Family:
    """All children. ``order`` is what a crashed one is started again with."""

    def __init__(self, told: Callable[[], None] = lambda: None) -> None:
        self._told = told
        """Called when a child has ended, and when one that was started again serves."""
        self.shares = Shares.create()
        self.members: list[Offspring] = []
        self.order: Order | None = None
        self.interventions: Facts = {}
        """What operators have changed, for children that are yet to start."""
        self.restarts = 0
        self._pauses: dict[int, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    @property
    def serving(self) -> list[Offspring]:
        return [child for child in self.members if child.serves]

    async def start(self, order: Order, count: int) -> None:
        """Start children for an order, and wait until all serve.

        :raises ControlError: one could not; then none of them is left.
        """
        new = [self._spawn(order) for _ in range(count)]
        for child in new:
            child.wanted = True
        try:
            for child in new:
                await child.until_ready()
            for child in new:
                child.wanted = False
                if child not in self.members:
                    raise ControlError(child.reason)
        except BaseException:
            for child in new:
                child.leaving = True
                child.signal(signal.SIGKILL)
            raise

    def _spawn(self, order: Order, slot: int = 0, crashes: int = 0) -> Offspring:
        child = Offspring(self, order, slot or self._free_slot(), crashes)
        self.members.append(child)
        self.shares.use(max(child.slot for child in self.members))
        return child

    def _free_slot(self) -> int:
        taken = {child.slot for child in self.members} | set(self._pauses)
        return next(slot for slot in range(1, SLOTS + 1) if slot not in taken)

    async def give(self, order: Order, count: int, *, others: bool) -> None:
        """Let ``count`` children serve an order: those there are, or ``others`` in their place.

        :raises ControlError: they cannot; nothing has changed.
        """
        old, before = self.serving, self.order
        if (
            others
            or before is None
            or len(old) != count
            or (order.identity, order.pin) != (before.identity, before.pin)
        ):
            await self.start(order, count)
            self.order = order
            self._start_no_more()  # all that are wanted are there
            # Those that are not ready yet would be of the old order, too.
            await self.retire([child for child in self.members if child.order is not order])
            return
        facts = {"config": order.config, "pems": dict(order.pems)}
        try:
            await asyncio.gather(
                *(child.control.ask("prepare", START_TIMEOUT, **facts) for child in old)
            )
        except ControlError:
            await ask_all([child.control for child in old if child.serves], "forget")
            raise
        self.order = order
        for child in old:
            try:
                child.status = (await child.control.ask("commit"))["status"]
                child.order = order
            except ControlError as error:
                _log.error("child %d is ended, for it did not reload: %s", child.pid, error)
                child.signal(signal.SIGKILL)

    async def retire(self, children: list[Offspring]) -> None:
        """Let children end: none takes connections any more when this returns."""
        for child in children:
            child.leaving = True
        await asyncio.gather(
            *(child.control.ask("deafen") for child in children), return_exceptions=True
        )
        await asyncio.gather(*(child.drain() for child in children))

    def reap(self) -> None:
        """After SIGCHLD: see who has ended, and start again what was not told to."""
        for child in [child for child in self.members if child.reap()]:
            self.members.remove(child)
            self.shares.free(child.slot)
            self._changed.set()
            if child.leaving or self.order is None or child.wanted:
                continue  # a start or a reload that fails says so itself
            crashes = child.crashes_in_a_row
            pause = pause_before_restart(crashes - 1)
            _log.error("%s; started again in %g s", child.reason, pause)
            self._pauses[child.slot] = asyncio.get_running_loop().call_later(
                pause, self._start_again, child.slot, crashes
            )
            self._told()

    def _start_again(self, slot: int, crashes: int) -> None:
        del self._pauses[slot]
        if self.order is None:
            return
        self.restarts += 1
        task = asyncio.ensure_future(self._watch_start(self._spawn(self.order, slot, crashes)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch_start(self, child: Offspring) -> None:
        try:
            await child.until_ready()
        except ControlError as error:
            _log.error("%s", error)
            child.signal(signal.SIGKILL)
            return
        _log.info("child %d serves", child.pid)
        self._told()
        if self.order is not None and child.order is not self.order:
            # A reload came between: another child takes its place.
            slot = self._free_slot()
            self._pauses[slot] = asyncio.get_running_loop().call_later(
                0, self._start_again, slot, 0
            )
            await child.drain()

    def abandon(self) -> None:
        """Start nobody again."""
        self.order = None
        self._start_no_more()

    def _start_no_more(self) -> None:
        for pause in self._pauses.values():
            pause.cancel()
        self._pauses.clear()

    async def until_gone(self) -> None:
        """Wait until no child is left."""
        while self.members:
            self._changed.clear()
            self.reap()
            if self.members:
                await self._changed.wait()
