"""Where the supervisor can be found: its pid file, and the socket that commands ask.

During a binary upgrade the new supervisor takes both over, and the old pid file gets ``.oldbin``
appended, as with nginx. Must not know what the commands do.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from synproxy.runtime.control import Control, ControlError, Facts
from synproxy.runtime.listeners import bind_private

if TYPE_CHECKING:
    from synproxy.config.model import Config
    from synproxy.runtime.supervisor import Supervisor

SOCKET_NAME: Final = "control.sock"

_log = logging.getLogger("synproxy")


def control_path(config: Config, directory: str) -> Path | None:
    """The socket's path; ``directory``: where ``auto`` puts it, or nothing."""
    if config.control_socket == "off":
        return None
    if config.control_socket == "auto":
        return Path(directory.partition(":")[0]) / SOCKET_NAME if directory else None
    return Path(config.control_socket.removeprefix("unix:"))


class Office:
    """The pid file and the control socket of one supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._pid: Path | None = None
        self._socket: Path | None = None
        self._server: asyncio.Server | None = None
        self._aside = False

    async def open(self, config: Config) -> None:
        """:raises OSError: one cannot be made, or another supervisor is there."""
        self._aside = False
        if config.pid != "off":
            self._pid = Path(config.pid)
            self._pid.write_text(f"{os.getpid()}\n")
        path = control_path(config, os.environ.get("RUNTIME_DIRECTORY", ""))
        if path is None:
            return
        self._server = await asyncio.get_running_loop().create_unix_server(
            self._client, sock=bind_private(path)
        )
        self._socket = path

    async def reload(self, config: Config) -> None:
        """Move if the configuration says so."""
        before = self._pid, self._socket
        path = control_path(config, os.environ.get("RUNTIME_DIRECTORY", ""))
        if before != (Path(config.pid) if config.pid != "off" else None, path):
            await self.close()
            await self.open(config)

    def step_aside(self) -> None:
        """A new supervisor will be found in these places."""
        self._aside = True
        if self._pid is not None:
            with suppress(OSError):
                self._pid.rename(self._oldbin(self._pid))

    async def return_to(self, config: Config) -> None:
        """It has not stayed."""
        if not self._aside:
            return
        if self._pid is not None:
            _remove_own(self._oldbin(self._pid))
        if self._server is not None:
            self._server.close()
            self._server = None
        try:
            await self.open(config)
        except OSError as error:
            _log.error("control socket: %s", error)

    async def close(self) -> None:
        """Leave nothing behind, but what a new supervisor has taken over."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._pid is not None:
            _remove_own(self._oldbin(self._pid) if self._aside else self._pid)
        if self._socket is not None and not self._aside:
            with suppress(OSError):
                self._socket.unlink()
        self._pid = self._socket = None

    @staticmethod
    def _oldbin(pid: Path) -> Path:
        return pid.with_name(f"{pid.name}.oldbin")

    # --- commands

    def _client(self) -> Control:
        supervisor = self._supervisor
        control = Control()

        async def reload(arguments: Facts) -> Facts:
            return _verdict(await supervisor.reload(), supervisor)

        async def upgrade(arguments: Facts) -> Facts:
            return _verdict(await supervisor.upgrade(), supervisor)

        async def reopen(arguments: Facts) -> Facts:
            await supervisor.reopen()
            return supervisor.facts()

        async def status(arguments: Facts) -> Facts:
            return {**supervisor.facts(), "each": await supervisor.ask_all("status")}

        def stop(arguments: Facts) -> Facts:
            supervisor.stop()
            return supervisor.facts()

        async def drain(arguments: Facts) -> Facts:
            return await supervisor.drain(arguments["server"])

        async def undrain(arguments: Facts) -> Facts:
            return await supervisor.undrain(arguments["server"])

        for question, answer in (
            *supervisor.questions().items(),
            ("drain", drain),
            ("undrain", undrain),
            ("maintenance", supervisor.maintain),
            ("reload", reload),
            ("upgrade", upgrade),
            ("reopen", reopen),
            ("status", status),
            ("stop", stop),
        ):
            control.register(question, answer)
        return control


def _remove_own(pid: Path) -> None:
    """Of two upgrades in a row the second puts another pid where the first has put ours."""
    with suppress(OSError):
        if pid.read_text() == f"{os.getpid()}\n":
            pid.unlink()


def _verdict(reason: str, supervisor: Supervisor) -> Facts:
    if reason:
        raise ControlError(reason)
    return supervisor.facts()
