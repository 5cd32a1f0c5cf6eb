"""The process above the children: it owns the listening sockets and handles no request.

It loads the configuration, starts children, replaces those that crash, and answers signals as
nginx's master does: HUP reloads, USR1 reopens the logs, USR2 starts a new program beside this one,
WINCH ends the children, QUIT and TERM drain, a second of them or INT ends at once. What is asked
over the control socket goes through the same methods.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from synproxy.errors import ConfigError
from synproxy.runtime import logs, systemd
from synproxy.runtime.control import ANSWER_TIMEOUT, ControlError, Facts, ask_all
from synproxy.runtime.credentials import LOOK, Credentials, Looks
from synproxy.runtime.family import Family
from synproxy.runtime.handover import Inheritance, Successor
from synproxy.runtime.identity import cores, identity, own_log, raise_fd_limit
from synproxy.runtime.interventions import Interventions, left_without, server_called
from synproxy.runtime.listeners import InheritedSockets, ListeningSockets
from synproxy.runtime.office import Office
from synproxy.runtime.offspring import START_TIMEOUT, Order

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from typing import Any

    from synproxy.config.model import Config
    from synproxy.runtime.control import Handler

_GRACE: Final = 5.0
"""Seconds that children get on top of ``shutdown_timeout`` before they are killed."""

_log = logging.getLogger("synproxy")


class Service(Protocol):
    """A server in the supervisor's loop, such as the admin listener."""

    async def start(self, supervisor: Supervisor) -> None:
        """Begin, when the children serve. OSError makes the start of synproxy fail."""

    async def reload(self, config: Config) -> str:
        """Another configuration is in use. Why it cannot follow, or nothing."""

    async def stop(self) -> None:
        """The end; children still answer."""

    def questions(self) -> Mapping[str, Handler]:
        """What it answers over the control socket."""


def serve(
    load: Callable[[], Config],
    config: Config,
    loop: str = "uvloop",
    services: Sequence[Service] = (),
) -> int:
    """Serve until a signal ends it; returns the exit code.

    ``load`` reads the configuration again, for a reload; it raises ConfigError.
    ``loop``: that of the children, ``uvloop`` or ``asyncio``.
    """
    logs.set_up()
    raise_fd_limit()
    with asyncio.Runner() as runner:
        return runner.run(Supervisor(load, config, loop, services).run())


class Supervisor:
    """Starts, reloads and ends the children."""

    def __init__(
        self,
        load: Callable[[], Config],
        config: Config,
        loop: str,
        services: Sequence[Service],
    ) -> None:
        self.config = config
        self.started = self.loaded = time.time()
        self.reloads = 0
        self.failed_reloads = 0
        self.failure = ""
        """Why the last reload failed."""
        self._load = load
        self._loop_name = loop
        self._services = services
        self._family = Family(self._tell_of_children)
        self._inheritance = Inheritance()
        self.interventions = Interventions.from_facts(self._inheritance.interventions)
        self._family.interventions = self.interventions.facts()
        self.inherited = InheritedSockets([*systemd.listen_sockets(), *self._inheritance.sockets])
        self._sockets = ListeningSockets(self.inherited, self._inheritance.ours)
        self._looks = Looks()
        self._office = Office(self)
        self._successor: Successor | None = None
        self._status = ""
        self._busy = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._done = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> int:
        """Open the listeners, start the children, serve, end."""
        self._handle_signals()
        try:
            self._sockets.open(self.config.listeners)
            credentials = Credentials(self.config)
            order = self._order(self.config, credentials)
            self._family.order = order
            async with self._busy:
                await self._unless_done(self._family.start(order, self._count(self.config)))
            predecessor = await self._inheritance.predecessor()
            await self._office.open(self.config)
            for service in self._services:
                await service.start(self)
        except (ConfigError, OSError, ValueError, ControlError) as error:
            if not self._done.is_set():
                _log.error("cannot start: %s", error)
            self._family.abandon()
            for child in self._family.members:
                child.signal(signal.SIGKILL)
            await self._family.until_gone()
            self._sockets.close(self._sockets.fds(), remove=not self._inheritance.sockets)
            await self._office.close()
            return 0 if self._done.is_set() else 1
        for name in self.inherited.unused():
            _log.warning("no listener of the configuration has the inherited socket %s", name)
        self._sockets.store()
        self._tell_ready()
        _log.info("ready: %s", self.status())
        if predecessor is not None:
            predecessor.register("main", self._become_main)
            with contextlib.suppress(ControlError):
                await predecessor.ask("ready", pid=os.getpid())
        self._looks.use(credentials)
        watches = [asyncio.create_task(self._watch()), asyncio.create_task(self._look_at_files())]
        await self._done.wait()
        for watch in watches:
            watch.cancel()
        await self._end()
        return 0

    async def _unless_done(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it, unless a signal ends us first."""
        task, done = asyncio.create_task(work), asyncio.create_task(self._done.wait())
        await asyncio.wait((task, done), return_when=asyncio.FIRST_COMPLETED)
        done.cancel()
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            raise ControlError("ended by a signal")
        task.result()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number, action in (
            (signal.SIGHUP, lambda: self._soon(self.reload())),
            (signal.SIGUSR1, lambda: self._soon(self.reopen())),
            (signal.SIGUSR2, lambda: self._soon(self._start_successor())),
            (signal.SIGWINCH, lambda: self._soon(self._retire_children())),
            (signal.SIGTERM, self.stop),
            (signal.SIGQUIT, self.stop),
            (signal.SIGINT, self.stop),
            (signal.SIGCHLD, self._reap),
        ):
            loop.add_signal_handler(number, action)

    def _soon(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _reap(self) -> None:
        self._family.reap()
        successor = self._successor
        # Once we end ourselves, it may have been replaced in its turn.
        if successor is not None and not self._done.is_set() and successor.ended() is not None:
            self._successor_ended()

    # --- for services and commands

    def questions(self) -> dict[str, Handler]:
        """What services answer over the control socket."""
        return {
            name: one for service in self._services for name, one in service.questions().items()
        }

    async def ask_all(
        self, question: str, within: float = ANSWER_TIMEOUT, **arguments: Any
    ) -> list[Facts]:
        """What each serving child answers."""
        controls = [child.control for child in self._family.serving]
        return await ask_all(controls, question, within, **arguments)

    def status(self) -> str:
        """One line about what is served."""
        count = len(self._family.serving)
        text = (
            f"listening on {', '.join(self._sockets.fds())}; {self._status}, "
            f"{count} {'child' if count == 1 else 'children'}, generation {self.reloads + 1}"
        )
        return f"{text}; reload failed: {self.failure.splitlines()[0]}" if self.failure else text

    def facts(self) -> Facts:
        """What is known without asking children."""
        return {
            "pid": os.getpid(),
            "started": self.started,
            "loaded": self.loaded,
            "wanted": self._count(self.config),
            "children": [child.pid for child in self._family.serving],
            "numbers": [child.slot for child in self._family.serving],
            "draining": [child.pid for child in self._family.members if child.leaving],
            "restarts": self._family.restarts,
            "reloads": self.reloads,
            "failed_reloads": self.failed_reloads,
            "failure": self.failure,
            "interventions": self.interventions.facts(),
        }

    async def intervene(self, wanted: Interventions) -> Facts:
        """Let all children, and those to come, do what operators want. ``warnings``: what of it
        may surprise them."""
        self.interventions = wanted
        self._family.interventions = wanted.facts()
        await self.ask_all("intervene", **wanted.facts())
        told = f"drained: {', '.join(wanted.drained) or 'none'}"
        _log.info("%s; maintenance is %s", told, "on" if wanted.maintenance else "off")
        lonely = [
            f"pool {name} has no other server"
            for name in left_without(self.config, wanted.drained)
            if wanted.drained
        ]
        return {**wanted.facts(), "warnings": lonely}

    async def drain(self, server: str) -> Facts:
        """Give a server no new requests.

        :raises ControlError: it is not known.
        """
        address = server_called(server, self.config)
        return await self.intervene(self.interventions.with_drained(address))

    async def undrain(self, server: str) -> Facts:
        """The same as before :meth:`drain`."""
        drained = self.interventions.drained
        address = server_called(server, self.config, drained)
        if address not in drained:
            raise ControlError(f"{server} is not drained")
        return await self.intervene(self.interventions.without_drained(address))

    async def maintain(self, arguments: Facts) -> Facts:
        """Begin or end maintenance; see ``Interventions.with_maintenance``."""
        return await self.intervene(self.interventions.with_maintenance(arguments))

    async def reopen(self) -> None:
        """Open the access logs anew."""
        with contextlib.suppress(OSError, ValueError):
            own_log(self.config.access_log.path, identity(self.config.user, self.config.group))
        await self.ask_all("reopen")

    def stop(self) -> None:
        """Drain and end; a second time: end at once."""
        if self._done.is_set():
            self._hurry.set()
        self._done.set()

    # --- children

    def _count(self, config: Config) -> int:
        return config.children or cores()

    def _order(self, config: Config, credentials: Credentials) -> Order:
        """What children are to do.

        :raises ValueError: the user does not exist.
        :raises OSError: the access log cannot be made.
        """
        who = identity(config.user, config.group)
        own_log(config.access_log.path, who)
        return Order(
            config=config.model_dump(mode="json", exclude_unset=True),
            pems=credentials.pems,
            loop=self._loop_name,
            sockets=self._sockets.fds([listener.listen for listener in config.listeners]),
            identity=who,
            pin=config.cpu_affinity == "auto",
        )

    async def _retire_children(self) -> None:
        """WINCH: let the children end; HUP starts them again."""
        async with self._busy:
            self._family.abandon()
            await self._family.retire(list(self._family.members))

    async def _watch(self) -> None:
        """Feed systemd's watchdog, and end children that hang as systemd would end us."""
        interval = systemd.watchdog_interval()
        while interval is not None:
            systemd.watchdog()
            children = self._family.serving
            answers = await asyncio.gather(
                *(child.control.ask("ping", 2 * interval) for child in children),
                asyncio.sleep(interval),
                return_exceptions=True,
            )
            for child, answer in zip(children, answers, strict=False):
                if isinstance(answer, ControlError) and child.serves:
                    _log.error("child %d hangs and is ended", child.pid)
                    child.signal(signal.SIGABRT)

    # --- certificates

    async def _look_at_files(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            async with self._busy:
                if (fresh := self._looks.renewed(self.config)) is not None:
                    await self._show(fresh)

    async def _show(self, credentials: Credentials) -> None:
        """Let children use new certificates; one that cannot keeps what it has."""
        family = self._family
        if family.order is not None:
            family.order = order = replace(family.order, pems=credentials.pems)
            for child in family.serving:
                child.order = order
        await self.ask_all("certificates", pems=dict(credentials.pems))

    # --- reload

    async def reload(self) -> str:
        """Load the configuration again; a bad one leaves the old one running. Why it failed, or
        nothing."""
        async with self._busy:
            if self._done.is_set():
                return "it is ending"
            systemd.reloading()
            self.failure = await self._reload()
            if self.failure:
                self.failed_reloads += 1
                _log.error("reload failed, the old configuration stays: %s", self.failure)
                systemd.ready(self.status())
                return self.failure
            self.loaded = time.time()
            reasons = [await service.reload(self.config) for service in self._services]
            self.failure = "; ".join(filter(None, reasons))
            if self.failure:
                self.failed_reloads += 1
                _log.error("reloaded, but for this: %s", self.failure)
            else:
                self.reloads += 1
                _log.info("reloaded: %s", self.status())
            self._tell_ready()
            return self.failure

    async def _reload(self) -> str:
        opened: list[str] = []
        try:
            config = self._load()
            opened = self._sockets.open(config.listeners)
            wanted = {listener.listen for listener in config.listeners}
            unwanted = set(self._sockets.fds()) - wanted
            credentials = Credentials(config)
            order = self._order(config, credentials)
            await self._family.give(order, self._count(config), others=bool(opened or unwanted))
            self._tell_status()
            await self._office.reload(config)
        except (ConfigError, OSError, ValueError, ControlError) as error:
            self._sockets.close(opened)
            return str(error)
        for name in unwanted:
            systemd.unstore(name)
        self._sockets.close(unwanted)
        self._sockets.store()
        self.config = config
        self._looks.use(credentials)
        return ""

    def _tell_status(self) -> None:
        serving = self._family.serving
        if serving:
            self._status = serving[-1].status

    def _tell_ready(self) -> None:
        self._tell_status()
        systemd.ready(self.status())

    def _tell_of_children(self) -> None:
        """One has crashed, or is there again."""
        if self._status and not self._done.is_set():
            systemd.status(self.status())

    # --- a binary upgrade

    async def _start_successor(self) -> str:
        """USR2: start the new program beside this one. Why it failed, or nothing."""
        async with self._busy:
            if self._successor is not None:
                return f"a new program is already there, process {self._successor.pid}"
            self._office.step_aside()
            ready = asyncio.Event()
            try:
                self._successor = successor = Successor(self._sockets, self.interventions.facts())
                await successor.connect(ready.set)

                def is_ready(arguments: Facts) -> Facts:
                    successor.ready = True
                    ready.set()
                    return {}

                successor.control.register("ready", is_ready)
                async with asyncio.timeout(2 * START_TIMEOUT):
                    await ready.wait()
            except (OSError, TimeoutError) as error:
                self._successor_ended()
                return str(error) or "the new program does not get ready"
            if not successor.ready:
                self._successor_ended()
                return "the new program could not start; its log says why"
            _log.info("the new program is ready, process %d", successor.pid)
            return ""

    def _successor_ended(self) -> None:
        if self._successor is not None:
            _log.error("the new program has ended")
            self._successor = None
            self._soon(self._office.return_to(self.config))

    async def upgrade(self) -> str:
        """USR2, and QUIT when the new program serves. Why it failed, or nothing."""
        reason = ""
        if self._successor is None or not self._successor.ready:
            reason = await self._start_successor()
        if not reason:
            self.stop()
        return reason

    def _become_main(self, arguments: Facts) -> Facts:
        """systemd listens to us from now on."""
        self._tell_ready()
        return {}

    # --- the end

    async def _end(self) -> None:
        successor = self._successor
        handed_over = successor is not None and successor.ready
        if successor is not None and successor.ready:
            systemd.notify(f"MAINPID={successor.pid}")
            with contextlib.suppress(ControlError):
                await successor.control.ask("main")
        else:
            systemd.stopping("draining")
        async with self._busy:
            for service in self._services:
                await service.stop()
            self._family.abandon()
            await self._family.retire(list(self._family.members))
            # What systemd keeps goes on to take connections for the next start.
            kept = handed_over or systemd.manages()
            self._sockets.close(self._sockets.fds(), remove=not kept)
            await self._until_gone()
            await self._office.close()

    async def _until_gone(self) -> None:
        gone = asyncio.create_task(self._family.until_gone())
        hurry = asyncio.create_task(self._hurry.wait())
        limit = self.config.shutdown_timeout + _GRACE
        await asyncio.wait((gone, hurry), timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if not gone.done():
            for child in self._family.members:
                child.signal(signal.SIGTERM)
            await asyncio.wait((gone,), timeout=_GRACE)
        for child in self._family.members:
            _log.error("child %d is killed, for it does not end", child.pid)
            child.signal(signal.SIGKILL)
        await gone
        hurry.cancel()
