"""The process that serves: connections, the timer, its part of a reload, drain.

It is started by the supervisor as ``python -m synproxy.runtime.child FD``, gets its configuration
and its listening sockets over that descriptor, and never reads the configuration's files. When the
supervisor dies it drains.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from synproxy import __version__
from synproxy.config.model import Config
from synproxy.core.wheel import TimerWheel
from synproxy.downstream.connections import Connections
from synproxy.downstream.http2 import exchanges_of
from synproxy.errors import ConfigError
from synproxy.observe.access_log import AccessLog
from synproxy.observe.metrics import Metrics
from synproxy.observe.snapshot import snapshot
from synproxy.proxy.generation import Generation
from synproxy.proxy.handler import ProxyHandler
from synproxy.runtime import logs
from synproxy.runtime.accepting import Accepting
from synproxy.runtime.acceptor import Acceptor
from synproxy.runtime.admission import Admission
from synproxy.runtime.control import Control, ControlError, Facts
from synproxy.runtime.identity import Identity
from synproxy.runtime.interventions import Interventions
from synproxy.runtime.shares import Shares
from synproxy.upstream.resolver import Names

if TYPE_CHECKING:
    from collections.abc import Callable

    from synproxy.config.certificates import Pems

_log = logging.getLogger("synproxy")

_TICK: Final = 0.25
"""Seconds between two looks at deadlines and the log buffer."""

_HURRIED_TICK: Final = 0.05
"""The same while requests wait for a server to come back."""

_IDLE_GRACE: Final = 0.5
"""Seconds before idle connections are closed at the end. The next request of a busy one may be on
its way: it is answered with ``Connection: close`` instead of a reset."""


def main() -> int:
    """Serve what the supervisor at the other end of descriptor ``argv[1]`` says."""
    logs.set_up()
    channel = socket.socket(fileno=int(sys.argv[1]))
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if sys.argv[2] == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_serve(channel))


async def _serve(channel: socket.socket) -> int:
    child = Child()
    control = await Control.over(channel, child.supervisor_ended)
    try:
        return await child.run(control)
    except ControlError as error:
        _log.error("the supervisor: %s", error)
        return 1


class Child:
    """One serving process. What others register on ``control`` before it is ready is answered."""

    def __init__(self) -> None:
        self.control: Control
        self.handler: ProxyHandler
        self.wheel: TimerWheel
        self._admission: Admission
        self._config: Config
        self._acceptors: dict[str, Acceptor] = {}
        self._accepting: dict[str, Accepting] = {}
        self._access_log: AccessLog | None = None
        self._prepared: tuple[Config, Generation, AccessLog | None, dict[str, Accepting]] | None = (
            None
        )
        self._interventions = Interventions()
        self._names = Names(self._resolved)
        self._replaced: list[tuple[float, Generation]] = []
        self._hurry = False
        self._flush_due = 0.0
        self._drain_deadline = 0.0
        self._done = asyncio.Event()
        self._drained = asyncio.Event()

    async def run(self, control: Control) -> int:
        """Take the listeners, serve, drain."""
        self.control = control
        self._loop = loop = asyncio.get_running_loop()
        self._handle_signals()
        order = await control.ask("order", pid=os.getpid(), version=__version__)
        self._shares = Shares(order["shares"])
        self._slot = order["slot"]
        _pin(order["core"])
        if order["identity"] is not None:
            Identity(**order["identity"]).assume()
        self._config = config = Config.model_validate(order["config"])
        self.wheel = TimerWheel(loop.time(), _TICK)
        await self._names.learn(config)
        try:
            generation = Generation(config, self.wheel, known_names=self._names.known)
            self.handler = ProxyHandler(generation, self.wheel, loop, None)
            assert isinstance(self.handler.connections, Connections)
            self._admission = Admission(self.handler.connections, loop.time)
            self._admission.use(config)
            self._log_to(AccessLog(config.access_log))
            self._accepting = self._accepting_of(config, order["pems"])
        except (ConfigError, OSError, ValueError) as error:
            await control.ask("failed", reason=str(error))
            return 1
        self._metrics = Metrics(loop.time)
        self._count_if_asked()
        self._tick()
        # What is loaded now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        self._intervene(order["interventions"])
        self._register()
        self._names.follow(config)
        self._listen(order["sockets"])
        self._intervene((await control.ask("ready", status=self._status()))["interventions"])
        self._reopen_logs()  # only who was ready has heard of a rotation
        await self._done.wait()
        await self._drain()
        self._names.close()
        if self._access_log is not None:
            self._access_log.close()
        return 0

    def _handle_signals(self) -> None:
        """As nginx's workers, but TERM drains. What a terminal sends to all is the supervisor's."""
        for number, action in (
            (signal.SIGTERM, self.stop),
            (signal.SIGQUIT, self.stop),
            (signal.SIGUSR1, self._reopen_logs),
        ):
            self._loop.add_signal_handler(number, action)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGWINCH):
            signal.signal(number, signal.SIG_IGN)

    def _register(self) -> None:
        """The supervisor's questions."""
        for question, answer in (
            ("ping", partial(_then_nothing, lambda: None)),
            ("prepare", self._prepare),
            ("commit", self._commit),
            ("intervene", self._intervene),
            ("forget", self._forget),
            ("certificates", self._show_certificates),
            ("status", self._facts),
            ("snapshot", self._snapshot),
            ("reopen", partial(_then_nothing, self._reopen_logs)),
            ("deafen", partial(_then_nothing, self._deafen)),
            ("drain", partial(_then_nothing, self.stop)),
        ):
            self.control.register(question, answer)

    def supervisor_ended(self) -> None:
        """Without it nobody reloads or replaces this process: let what is open end."""
        self.stop()

    # --- listeners

    def _accepting_of(self, config: Config, pems: Pems) -> dict[str, Accepting]:
        return {one.listen: Accepting(one, self.handler, pems) for one in config.listeners}

    def _listen(self, sockets: dict[str, int]) -> None:
        for name, fd in sockets.items():
            sock = socket.socket(fileno=fd)
            sock.setblocking(False)
            accepting = self._accepting[name]
            self._acceptors[name] = Acceptor(
                self._loop,
                sock,
                accepting.connection,
                self._shares,
                self._admission,
                accepting.speaks_plain,
            )

    def _deafen(self) -> None:
        """Take no new connections; those that wait already are taken."""
        self._shares.free(self._slot)
        for acceptor in self._acceptors.values():
            acceptor.close()

    # --- the access log

    def _log_to(self, access_log: AccessLog | None) -> None:
        old, self._access_log = self._access_log, access_log
        if old is not None and old is not access_log:
            old.close()
        off = self._config.access_log.path == "off"
        self.handler.log_to(None if off else access_log)

    def _reopen_logs(self) -> None:
        if self._access_log is not None:
            self._access_log.reopen()

    def _count_if_asked(self) -> None:
        self.handler.count_in(self._metrics if self._config.admin is not None else None)

    # --- the timer

    def _tick(self) -> None:
        now = self._loop.time()
        self.wheel.advance(now)
        if self._access_log is not None and now >= self._flush_due:
            self._flush_due = now + self._config.access_log.flush
            self._access_log.flush()
        self._metrics.settle()
        if self.handler.draining:
            self._look_at_drain()
        else:
            self._shares.set(self._slot, len(self.handler.connections))
        if self._replaced and now >= self._replaced[0][0]:
            self._cut_replaced()
        tick = _HURRIED_TICK if self.wheel.hurried else _TICK
        self._timer = self._loop.call_later(tick, self._tick)

    # --- reload: what may fail is done before anything changes

    async def _prepare(self, arguments: Facts) -> Facts:
        self._forget(arguments)
        config = Config.model_validate(arguments["config"])
        await self._names.learn(config)
        access_log = self._access_log
        try:
            old = self.handler.generation
            generation = Generation(config, self.wheel, old, known_names=self._names.known)
            if config.access_log != self._config.access_log:
                access_log = AccessLog(config.access_log)
            accepting = self._accepting_of(config, arguments["pems"])
        except (ConfigError, OSError, ValueError) as error:
            raise ControlError(str(error)) from error
        self._prepared = config, generation, access_log, accepting
        return {}

    def _commit(self, arguments: Facts) -> Facts:
        if self._prepared is None:
            raise ControlError("nothing is prepared")
        config, generation, access_log, accepting = self._prepared
        self._prepared = None
        old = self.handler.generation
        self._apply(self._interventions, generation, config)
        generation.take_over(old)
        self.handler.use(generation)
        old.retire()
        self._config = config
        self._admission.use(config)
        self._names.follow(config)
        self._resolved()  # what was learnt since it was prepared
        self._log_to(access_log)
        self._accept_as(accepting)
        self._metrics.fold()
        self._count_if_asked()
        if config.reload_grace:
            self._replaced.append((self._loop.time() + config.reload_grace, old))
        return {"status": self._status()}

    def _intervene(self, arguments: Facts) -> Facts:
        """Operators want servers drained, or maintenance, or no more of it."""
        self._interventions = Interventions.from_facts(arguments)
        self._apply(self._interventions, self.handler.generation, self._config)
        return {}

    @staticmethod
    def _apply(wanted: Interventions, generation: Generation, config: Config) -> None:
        generation.intervene(wanted.drained, wanted.answer(config.maintenance))

    def _forget(self, arguments: Facts) -> Facts:
        """Another child could not prepare."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None and prepared[2] not in (None, self._access_log):
            assert prepared[2] is not None
            prepared[2].close()
        return {}

    def _show_certificates(self, arguments: Facts) -> Facts:
        """Files have changed, and nothing else."""
        try:
            accepting = self._accepting_of(self._config, arguments["pems"])
        except ConfigError as error:
            raise ControlError(str(error)) from error
        self._accept_as(accepting)
        return {}

    def _accept_as(self, accepting: dict[str, Accepting]) -> None:
        for name, changed in accepting.items():
            if name in self._accepting:
                self._accepting[name].become(changed)

    def _resolved(self) -> None:
        """Names in pools have other servers."""
        self._metrics.fold()
        generation = self.handler.generation
        generation.resolve(self._names.known, self.handler.watches)
        self._apply(self._interventions, generation, self._config)  # to pools that are new

    def _cut_replaced(self) -> None:
        """End what still follows a configuration that was replaced too long ago."""
        _, generation = self._replaced.pop(0)
        late = [
            connection
            for connection in self.handler.connections
            if any(one.generation is generation for one in exchanges_of(connection))
        ]
        if late:
            _log.warning("cut %d connections that follow a replaced configuration", len(late))
        for connection in late:
            connection.transport.abort()

    # --- the end

    def stop(self) -> None:
        """Drain; a second time: end at once."""
        if self._done.is_set():
            self._hurry = True
            self._drained.set()
        self._done.set()

    async def _drain(self) -> None:
        """Take no new connection, let what is open end, and cut what does not in time."""
        self._deafen()
        await asyncio.sleep(0)  # what was accepted last becomes a connection
        connections = self.handler.connections
        _log.info("draining %d connections", len(connections))
        self.handler.drain()
        self.handler.watches.drain()
        if connections:
            self._loop.call_later(_IDLE_GRACE, self._close_idle)
        self._drain_deadline = self._loop.time() + self._config.shutdown_timeout
        self._look_at_drain()
        await self._drained.wait()
        if connections:
            _log.warning("cut %d connections that did not end in time", len(connections))
        for connection in list(connections):
            connection.transport.abort()
        self.handler.generation.retire()
        self.handler.close()
        await asyncio.sleep(0)
        self._timer.cancel()

    def _close_idle(self) -> None:
        for connection in list(self.handler.connections):
            connection.shut_down_idle()
        self._look_at_drain()

    def _look_at_drain(self) -> None:
        if not self.handler.connections or self._hurry or self._loop.time() >= self._drain_deadline:
            self._drained.set()

    # --- what the supervisor tells others

    def _status(self) -> str:
        generation = self.handler.generation
        return f"{len(generation.routes)} routes, {len(generation.pools)} pools"

    def _snapshot(self, arguments: Facts) -> Facts:
        seen = snapshot(self.handler, self._metrics)
        seen["counts"]["turned_away"] = [
            [["connections_per_address"], self._admission.turned_away],
            [["proxy_protocol"], sum(one.refusals for one in self._accepting.values())],
        ]
        seen["counts"]["made_room"] = [[[], self._admission.made_room]]
        return seen | {
            "tls": [
                accepting.endpoint.snapshot()
                for accepting in self._accepting.values()
                if accepting.endpoint is not None
            ]
        }

    def _facts(self, arguments: Facts) -> Facts:
        return {
            "pid": os.getpid(),
            "connections": len(self.handler.connections),
            "idle": {
                name: pool.idle_connections for name, pool in self.handler.generation.pools.items()
            },
            "tasks": len(asyncio.all_tasks()),
            "timers": len(self.wheel),
        }


def _then_nothing(action: Callable[[], None], arguments: Facts) -> Facts:
    action()
    return {}


def _pin(core: int | None) -> None:
    if core is not None:
        try:
            os.sched_setaffinity(0, {core})
        except OSError as error:
            _log.warning("cpu_affinity: cannot use core %d: %s", core, error.strerror)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
