"""Takes connections from a listening socket that all children share.

asyncio's own servers accept all that wait as soon as one child wakes up, which leaves thousands of
long polls with whoever was first (docs/adr/0012). Here a child accepts a few at a time, and only
one that has not more than its share at once. Must not know what happens on a connection.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from synproxy.core.limits import EXHAUSTED
from synproxy.downstream.connections import source

if TYPE_CHECKING:
    from collections.abc import Callable

    from synproxy.runtime.admission import Admission
    from synproxy.runtime.shares import Shares

_BATCH: Final = 16
"""Connections accepted before the child does other work."""
_STEP_BACK: Final = 0.001
"""Seconds for which a child with more than its share leaves connections to the others."""
_EXHAUSTED_REST: Final = 0.5
"""Seconds without accepting when there are no file descriptors left (nginx: the same)."""
_FULL_REST: Final = 0.05
"""Seconds between two looks whether there is room again below the limit."""
_FAREWELL_READ: Final = 65536
"""Bytes read from a client that is turned away: what is left unread would make the close a reset,
which may overtake the answer."""

_log = logging.getLogger("synproxy")


class Acceptor:
    """One listener of one child."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        factory: Callable[[], asyncio.BaseProtocol],
        shares: Shares,
        admission: Admission,
        plain: Callable[[], bool],
    ) -> None:
        self.factory = factory
        self.plain = plain
        """Whether a client understands HTTP without TLS around it."""
        self._loop = loop
        self._sock = sock
        self._shares = shares
        self._admission = admission
        self._starting: dict[asyncio.Task[Any], bytes] = {}
        """What was accepted and does not count as open yet, with its source."""
        self._stepped_back = False
        self._timer: asyncio.TimerHandle | None = None
        self._exhausted = False
        self._accept_more()

    def close(self) -> None:
        """Take what waits already, and nothing after that. The socket stays with the supervisor."""
        if self._sock.fileno() < 0:
            return
        self._pause(None)
        while (accepted := self._accept()) is not None:
            self._start(*accepted)
        self._pause(None)
        self._sock.close()

    # --- accepting

    def _readable(self) -> None:
        for _ in range(_BATCH):
            starting = len(self._starting)
            if self._admission.full(starting):
                self._pause(_STEP_BACK if self._admission.make_room() else _FULL_REST)
                return
            if self._shares.above(len(self._admission.connections) + starting):
                if not self._stepped_back:
                    self._stepped_back = True
                    self._pause(_STEP_BACK)
                    return
                self._stepped_back = False  # nobody else took it
            accepted = self._accept()
            if accepted is None:
                return
            connection, peer = accepted
            farewell = self._admission.farewell(peer, self._starting.values())
            if farewell:
                self._turn_away(connection, farewell)
            else:
                self._start(connection, peer)

    def _accept(self) -> tuple[socket.socket, object] | None:
        try:
            connection, peer = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            self._stepped_back = False
            return None
        except OSError as error:
            if error.errno not in EXHAUSTED:
                _log.error("cannot accept: %s", error.strerror)
            elif not self._exhausted:
                self._exhausted = True
                _log.error("cannot accept: %s; raise LimitNOFILE", error.strerror)
            self._pause(_EXHAUSTED_REST)
            return None
        self._exhausted = False
        connection.setblocking(False)
        return connection, peer

    def _turn_away(self, connection: socket.socket, farewell: bytes) -> None:
        """Answer before anything is asked, and close: this must cost next to nothing."""
        with connection, suppress(OSError):
            if self.plain():
                connection.send(farewell)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(_FAREWELL_READ)

    def _start(self, connection: socket.socket, peer: object) -> None:
        task = self._loop.create_task(self._connect(connection))
        self._starting[task] = source(peer)
        task.add_done_callback(self._starting.pop)

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self.factory, connection)
        except OSError as error:  # the client's, and no news
            _log.debug("a connection ended before it began: %s", error)
            connection.close()

    # --- pausing

    def _pause(self, seconds: float | None) -> None:
        self._loop.remove_reader(self._sock.fileno())
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._accept_more) if seconds else None

    def _accept_more(self) -> None:
        self._timer = None
        self._loop.add_reader(self._sock.fileno(), self._readable)
