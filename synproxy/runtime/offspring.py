"""A child as the supervisor sees it: started, ready, ended.

A child is a fresh interpreter, not a fork: the supervisor has a running loop (docs/adr/0012). Must
not know signals, nor what is asked of children besides their start and end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

from synproxy import __version__
from synproxy.runtime.control import Control, ControlError, Facts, channel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synproxy.config.certificates import Pems
    from synproxy.runtime.family import Family
    from synproxy.runtime.identity import Identity

START_TIMEOUT: Final = 60.0
"""Seconds that a child may take until it serves."""
_STEADY: Final = 10.0
"""Seconds after which a child that serves has proved that it can."""
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 15.0
"""Seconds before a child that keeps crashing is started again: twice the last time, up to this."""

_log = logging.getLogger("synproxy")


def pause_before_restart(crashes: int) -> float:
    """Seconds; ``crashes`` in a row, each soon after the start, before this one."""
    return min(_FIRST_PAUSE * 2.0 ** (crashes - 1), _LONGEST_PAUSE) if crashes else 0.0


@dataclass(frozen=True)
class Order:
    """What children serve. A reload makes a new one."""

    config: Facts
    pems: Pems = field(repr=False)
    loop: str
    sockets: Mapping[str, int]
    identity: Identity | None
    pin: bool


class Offspring:
    """One child process in its slot."""

    def __init__(self, family: Family, order: Order, slot: int, crashes: int = 0) -> None:
        self._family = family
        self.order = order
        self.slot = slot
        self.crashes = crashes
        self.reason = ""
        """Why it could not start."""
        self.status = ""
        self.leaving = False
        """It was told to end, so it is not started again."""
        self.wanted = False
        """A start or a reload waits for it."""
        self._began = asyncio.get_running_loop().time()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # -P: nothing is imported from the directory that the supervisor was started in.
        module = [sys.executable, "-P", "-m", "synproxy.runtime.child"]
        environment = {
            name: value for name, value in os.environ.items() if name not in _NOT_FOR_CHILDREN
        }
        with channel() as (ours, theirs):
            self._process = subprocess.Popen(  # noqa: S603 (our own program)
                [*module, str(theirs.fileno()), order.loop],
                pass_fds=[theirs.fileno(), family.shares.fd, *order.sockets.values()],
                env=environment,
                stdin=subprocess.DEVNULL,
            )
        self.control = Control()
        self.control.register("order", self._give_order)
        self.control.register("ready", self._is_ready)
        self.control.register("failed", self._has_failed)
        self._attaching = asyncio.ensure_future(self.control.attach(ours))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def serves(self) -> bool:
        """Ready, and not told to end."""
        return self.ready.done() and not self.leaving and self.control.open

    async def until_ready(self) -> None:
        """Wait for it.

        :raises ControlError: it ended instead, or takes too long.
        """
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await asyncio.shield(self.ready)
        except TimeoutError:
            raise ControlError(f"child {self.pid} is not ready in {START_TIMEOUT:g} s") from None

    async def drain(self) -> None:
        """Tell it to take no new connections and to end when the open ones have."""
        self.leaving = True
        try:
            await self.control.ask("drain")
        except ControlError:
            self.signal(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def reap(self) -> bool:
        """Whether it has ended; then ``reason`` says how."""
        status = self._process.poll()
        if status is None:
            return False
        ended = (
            f"was ended by {signal.Signals(-status).name}"
            if status < 0
            else f"ended with status {status}"
        )
        self.reason = self.reason or f"child {self.pid} {ended}"
        if not self.ready.done():
            self.ready.set_exception(ControlError(self.reason))
            self.ready.exception()  # it may be that nobody waits
        self.control.close()
        return True

    @property
    def crashes_in_a_row(self) -> int:
        lived = asyncio.get_running_loop().time() - self._began
        return 0 if self.ready.done() and lived > _STEADY else self.crashes + 1

    # --- what the child says while it starts

    def _give_order(self, arguments: Facts) -> Facts:
        if arguments["version"] != __version__:
            _log.warning(
                "child %d runs version %s, the supervisor %s: `synproxy upgrade` replaces both",
                *(self.pid, arguments["version"], __version__),
            )
        cores = sorted(os.sched_getaffinity(0))
        return {
            "config": self.order.config,
            "pems": dict(self.order.pems),
            "sockets": dict(self.order.sockets),
            "shares": self._family.shares.fd,
            "slot": self.slot,
            "identity": asdict(self.order.identity) if self.order.identity is not None else None,
            "interventions": self._family.interventions,
            "core": cores[(self.slot - 1) % len(cores)] if self.order.pin else None,
        }

    def _is_ready(self, arguments: Facts) -> Facts:
        self.status = arguments["status"]
        if not self.ready.done():
            self.ready.set_result(None)
        # Who starts hears of what is asked of all meanwhile.
        return {"interventions": self._family.interventions}

    def _has_failed(self, arguments: Facts) -> Facts:
        self.reason = arguments["reason"]
        return {}


_NOT_FOR_CHILDREN: Final = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})
