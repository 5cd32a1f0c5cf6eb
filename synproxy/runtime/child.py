"""The process that serves: listeners, signals, the timer, reload and drain.

Signals have nginx's meanings: HUP reloads the configuration, USR1 reopens the logs, QUIT and TERM
drain (TERM is what systemd sends, so it drains too), a second TERM or INT ends at once.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from synproxy.core.wheel import TimerWheel
from synproxy.downstream.connection import ClientConnection
from synproxy.errors import ConfigError
from synproxy.observe.access_log import AccessLog
from synproxy.proxy.generation import Generation
from synproxy.proxy.handler import ProxyHandler
from synproxy.runtime import logs, systemd
from synproxy.runtime.listeners import InheritedSockets, open_listener, remove_socket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from synproxy.config.addresses import UnixAddress
    from synproxy.config.model import Config, Listener

_log = logging.getLogger("synproxy")

_TICK: Final = 0.25
"""Seconds between two looks at deadlines and the log buffer."""

_HURRIED_TICK: Final = 0.05
"""The same while requests wait for a server to come back."""


def serve(load: Callable[[], Config], config: Config, loop: str = "uvloop") -> int:
    """Serve until a signal ends it; returns the exit code.

    ``load`` reads the configuration again, for a reload; it raises ConfigError.
    ``loop``: ``uvloop`` or ``asyncio``.
    """
    logs.set_up()
    _raise_fd_limit()
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(Child(load, config).run())


class Child:
    """One serving process."""

    def __init__(self, load: Callable[[], Config], config: Config) -> None:
        self._load = load
        self._config = config
        self._inherited = InheritedSockets(systemd.listen_sockets())
        self._servers: dict[str, _Listening] = {}
        self._access_log: AccessLog | None = None
        self._hurry = False
        self._last_watchdog = 0.0
        self._flush_due = 0.0
        self._watchdog_interval = systemd.watchdog_interval()
        self._drain_deadline = 0.0
        self._done: asyncio.Event
        self._drained: asyncio.Event

    async def run(self) -> int:
        """Open the listeners, serve, drain."""
        loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        self._drained = asyncio.Event()
        self._loop = loop
        self.wheel = TimerWheel(loop.time(), _TICK)
        self.handler = ProxyHandler(Generation(self._config, self.wheel), self.wheel, loop, None)
        try:
            self._log_to(AccessLog(self._config.access_log))
            await self._listen(self._config)
        except OSError as error:
            _log.error("cannot start: %s", error)
            self._close_listeners(self._servers)
            return 1
        for name in self._inherited.unused():
            _log.warning("no listener of the configuration has the inherited socket %s", name)
        for number, action in (
            (signal.SIGHUP, self._reload_soon),
            (signal.SIGUSR1, self._reopen_logs),
            (signal.SIGTERM, self._stop),
            (signal.SIGQUIT, self._stop),
            (signal.SIGINT, self._stop),
        ):
            loop.add_signal_handler(number, action)
        self._tick()
        # What is loaded now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        systemd.ready(self._status())
        _log.info("ready: %s", self._status())
        await self._done.wait()
        await self._drain()
        if self._access_log is not None:
            self._access_log.close()
        return 0

    # --- listeners

    async def _listen(self, config: Config) -> None:
        for listener in config.listeners:
            if listener.listen in self._servers:
                continue
            listening = _Listening(listener, *open_listener(listener, self._inherited))
            self._servers[listener.listen] = listening
            await listening.start(self._loop, self.handler)

    def _close_listeners(self, names: Iterable[str]) -> None:
        for name in list(names):
            self._servers.pop(name).close()

    # --- the access log

    def _log_to(self, access_log: AccessLog | None) -> None:
        old, self._access_log = self._access_log, access_log
        if old is not None and old is not access_log:
            old.close()
        off = self._config.access_log.path == "off"
        self.handler.access_log = None if off else access_log

    def _reopen_logs(self) -> None:
        if self._access_log is not None:
            self._access_log.reopen()

    # --- the timer

    def _tick(self) -> None:
        now = self._loop.time()
        self.wheel.advance(now)
        if self._access_log is not None and now >= self._flush_due:
            self._flush_due = now + self._config.access_log.flush
            self._access_log.flush()
        interval = self._watchdog_interval
        if interval is not None and now - self._last_watchdog >= interval:
            self._last_watchdog = now
            systemd.watchdog()
        if self.handler.draining:
            self._look_at_drain()
        tick = _HURRIED_TICK if self.wheel.hurried else _TICK
        self._timer = self._loop.call_later(tick, self._tick)

    # --- reload

    def _reload_soon(self) -> None:
        task = self._loop.create_task(self.reload())
        self._reloading = task  # a task without a reference may be collected

    async def reload(self) -> bool:
        """Load the configuration again; a bad one leaves the old one running."""
        systemd.reloading()
        before = set(self._servers)
        access_log = self._access_log
        try:
            config = self._load()
            generation = Generation(config, self.wheel, self.handler.generation)
            if config.access_log != self._config.access_log:
                access_log = AccessLog(config.access_log)
            await self._listen(config)
        except (ConfigError, OSError, ValueError) as error:
            self._close_listeners(set(self._servers) - before)
            if access_log is not None and access_log is not self._access_log:
                access_log.close()
            _log.error("reload failed, the old configuration stays: %s", error)
            systemd.ready(f"reload failed; {self._status()}")
            return False
        old = self.handler.generation
        self.handler.use(generation)
        old.retire()
        self._config = config
        self._log_to(access_log)
        self._close_listeners(before - {listener.listen for listener in config.listeners})
        _log.info("reloaded: %s", self._status())
        systemd.ready(self._status())
        return True

    # --- the end

    def _stop(self) -> None:
        if self._done.is_set():
            self._hurry = True
            self._drained.set()
        self._done.set()

    async def _drain(self) -> None:
        """Take no new connection, let what is open end, and cut what does not in time."""
        connections = self.handler.connections
        systemd.stopping(f"draining {len(connections)} connections")
        _log.info("draining %d connections", len(connections))
        self._close_listeners(self._servers)
        self.handler.draining = True
        self.handler.watches.drain()
        for connection in list(connections):
            connection.shut_down_idle()
        self._drain_deadline = self._loop.time() + self._config.shutdown_timeout
        self._look_at_drain()
        await self._drained.wait()
        if connections:
            _log.warning("cut %d connections that did not end in time", len(connections))
        for connection in list(connections):
            connection.transport.abort()
        self.handler.generation.retire()
        await asyncio.sleep(0)
        self._timer.cancel()

    def _look_at_drain(self) -> None:
        if not self.handler.connections or self._hurry or self._loop.time() >= self._drain_deadline:
            self._drained.set()

    def _status(self) -> str:
        generation = self.handler.generation
        return (
            f"listening on {', '.join(self._servers)}; {len(generation.routes)} routes, "
            f"{len(generation.pools)} pools"
        )


class _Listening:
    """A listener with its socket and asyncio's server."""

    def __init__(self, listener: Listener, sock: socket.socket, ours: UnixAddress | None) -> None:
        self._listener = listener
        self._sock = sock
        self._ours = ours
        self._server: asyncio.Server | None = None

    async def start(self, loop: asyncio.AbstractEventLoop, handler: ProxyHandler) -> None:
        def factory() -> ClientConnection:
            return ClientConnection(handler)

        backlog = self._listener.backlog
        if self._sock.family == socket.AF_UNIX:
            self._server = await loop.create_unix_server(factory, sock=self._sock, backlog=backlog)
        else:
            self._server = await loop.create_server(factory, sock=self._sock, backlog=backlog)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._sock.close()
        if self._ours is not None:
            remove_socket(self._ours)


def _raise_fd_limit() -> None:
    """Use what the system allows (nginx ``worker_rlimit_nofile``): two descriptors a request."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
