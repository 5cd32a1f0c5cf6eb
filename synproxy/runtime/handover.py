"""A binary upgrade: how one supervisor starts the next and gives it the listening sockets.

nginx's procedure: USR2 starts the new program beside the old one, and both serve; WINCH and QUIT
end the old one, or QUIT the new one if it is no good. Must not know what is served.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from synproxy.runtime.control import Control, Facts, channel

if TYPE_CHECKING:
    from collections.abc import Callable

    from synproxy.runtime.listeners import ListeningSockets

_VARIABLE: Final = "SYNPROXY_UPGRADE"
"""What a supervisor inherits (nginx: ``NGINX``)."""

_log = logging.getLogger("synproxy")


class Inheritance:
    """What this process got from the supervisor before it; nothing, mostly."""

    def __init__(self) -> None:
        text = os.environ.pop(_VARIABLE, "")
        facts = json.loads(text) if text else {"sockets": [], "ours": [], "control": None}
        self.sockets = [socket.socket(fileno=fd) for fd in facts["sockets"]]
        for sock in self.sockets:
            sock.set_inheritable(False)
        self.ours: list[str] = facts["ours"]
        self.interventions: Facts = facts.get("interventions", {})
        self._control: int | None = facts["control"]

    async def predecessor(self) -> Control | None:
        """The channel to the supervisor that started us."""
        if self._control is None:
            return None
        sock = socket.socket(fileno=self._control)
        sock.set_inheritable(False)
        return await Control.over(sock)


class Successor:
    """The new program, started with the command line of the old one."""

    def __init__(self, sockets: ListeningSockets, interventions: Facts) -> None:
        fds = [*sockets.fds().values(), *sockets.inherited.lent]
        with channel() as (ours, theirs):
            facts: Facts = {"sockets": fds, "ours": sockets.ours, "control": theirs.fileno()}
            facts["interventions"] = interventions
            environment = {**os.environ, _VARIABLE: json.dumps(facts)}
            environment.pop("WATCHDOG_PID", None)
            self._process = subprocess.Popen(  # noqa: S603 (our own program)
                [sys.executable, *sys.orig_argv[1:]],
                pass_fds=[*fds, theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
            )
        self._socket = ours
        self.control = Control()
        self.ready = False

    @property
    def pid(self) -> int:
        return self._process.pid

    async def connect(self, ended: Callable[[], None]) -> None:
        """Open the channel; ``ended`` is called when the new program has gone."""
        self.control = await Control.over(self._socket, ended)

    def ended(self) -> int | None:
        """Its exit status, once it has one."""
        return self._process.poll()
