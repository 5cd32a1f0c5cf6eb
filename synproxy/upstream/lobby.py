"""Where the requests of one pool wait: for a place on a full server, or for one that restarts.

A pool has a lobby only while somebody waits. Who comes back from a wait tries again from the start,
so nothing here chooses servers. Must not know clients or routes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synproxy.core.balance import ANY
from synproxy.core.health import Status
from synproxy.core.limits import ADMITTED_AT_ONCE, HELD_REQUESTS
from synproxy.core.waiting import WaitingRoom
from synproxy.core.wheel import NEVER

if TYPE_CHECKING:
    from synproxy.core.waiting import Ticket
    from synproxy.upstream.pool import ServerPool


class Lobby:
    """Two rooms, and those of whom a part was admitted already; the rest follows tick by tick."""

    __slots__ = ("_due", "_held", "_pool", "_queue", "deadline", "visit")

    def __init__(self, pool: ServerPool) -> None:
        self._pool = pool
        self._held = WaitingRoom(HELD_REQUESTS)
        queue = pool.settings.queue
        self._queue = WaitingRoom(queue.number if queue is not None else 0)
        self._due: dict[int, None] = {}
        self.deadline = NEVER
        self.visit = 0.0

    def __len__(self) -> int:
        return len(self._held) + len(self._queue)

    @property
    def waiting(self) -> tuple[int, int]:
        """Requests that wait for a restart, and for a place."""
        return len(self._held), len(self._queue)

    # --- coming and going

    def hold(self, ticket: Ticket) -> bool:
        """Wait for a server to come back; False: there is no room."""
        return self._enter(self._held, ticket)

    def queue(self, ticket: Ticket) -> bool:
        """Wait for a place; False: there is no room."""
        return self._enter(self._queue, ticket)

    def _enter(self, room: WaitingRoom, ticket: Ticket) -> bool:
        leaves = room.enter(ticket)
        if leaves is ticket:
            self._settle()
            return False
        self._pool.wheel.watch(ticket)
        if leaves is not None:
            self._pool.wheel.forget(leaves)
            leaves.waiter.wait_over()
        return True

    def leave(self, ticket: Ticket) -> None:
        """Wait no more; harmless when admitted already."""
        if ticket.room is not None:
            self._pool.wheel.forget(ticket)
            ticket.room.leave(ticket)
            self._settle()

    # --- what happens to servers

    def server_back(self, index: int) -> None:
        """A server takes requests again."""
        self._due[index] = None
        self._go_on()

    def server_away(self, index: int) -> None:
        """A server restarts or is down: who waits for it must decide anew."""
        self._due[index] = None
        self._due[ANY] = None
        self._go_on()

    def place_free(self, index: int) -> None:
        """A request has ended at a server."""
        self._admit(index, 1)
        self._settle()

    def expire(self, now: float) -> None:
        """The next of those who are due; called by the wheel."""
        self._go_on()

    # --- inside

    def _go_on(self) -> None:
        left = ADMITTED_AT_ONCE
        balancer = self._pool.balancer
        for index in list(self._due):
            if index == ANY or balancer.gone(index) or balancer.health(index) != Status.UP:
                left = self._send_on(index, left)
            else:
                left = self._admit(index, left)
            if left > 0:
                del self._due[index]
        wheel = self._pool.wheel
        if self._due and len(self):
            self.deadline = wheel.now
            wheel.watch_closely(self)
        else:
            wheel.forget_closely(self)
        self._settle()

    def _admit(self, index: int, most: int) -> int:
        """Let in up to ``most`` who wait for a server, as far as it has places. Returns what is
        left of ``most``; 0 means that more may be due."""
        places = self._pool.balancer.places
        while most and places(index) > 0:
            ticket = self._held.take(index) or self._queue.take(index)
            if ticket is None:
                break
            most -= 1
            self._call(ticket)
        return most

    def _send_on(self, index: int, most: int) -> int:
        """Let up to ``most`` who wait for a server that is away try another way."""
        balancer = self._pool.balancer
        tickets: list[Ticket] = []
        if index != ANY or not balancer.any_up:
            tickets += self._queue.waiting_for(index)
        if not balancer.restarting() if index == ANY else balancer.gone(index):
            tickets += self._held.waiting_for(index)
        for ticket in tickets[:most]:
            if ticket.room is not None:
                ticket.room.leave(ticket)
                self._call(ticket)
        return max(0, most - len(tickets))

    def _call(self, ticket: Ticket) -> None:
        self._pool.wheel.forget(ticket)
        ticket.waiter.admitted()

    def _settle(self) -> None:
        """Close the lobby behind the last one."""
        if not len(self) and self._pool.lobby is self:
            self._pool.wheel.forget_closely(self)
            self._pool.lobby = None
