"""Requests that wait: for a place on a full server, or for a server that restarts.

First come, first served, but in turns by key: who has a thousand requests waiting gets no more of
the places than who has one. When there is no room left, a newcomer takes the place of the last
request of whoever has most waiting, unless that is the newcomer. Pure; who waits is told by
whoever calls.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from synproxy.core.balance import ANY
from synproxy.core.wheel import NEVER


class Waiter(Protocol):
    """Who holds a ticket: an exchange."""

    def admitted(self) -> None:
        """Its turn has come, or what it waited for has changed: try again."""

    def wait_over(self) -> None:
        """It has waited too long, or has to make room; it may still be in the room."""


class Ticket:
    """One waiting request; in the timer wheel as long as it waits."""

    __slots__ = ("deadline", "home", "key", "room", "turn", "visit", "waiter")

    def __init__(self, waiter: Waiter, key: bytes, home: int, deadline: float = NEVER) -> None:
        self.waiter = waiter
        self.key = key
        """Whose request it is: the sticky key, or the client's address."""
        self.home = home
        """The server it waits for, or ANY."""
        self.deadline = deadline
        self.visit = 0.0
        self.turn = 0
        self.room: WaitingRoom | None = None

    def expire(self, now: float) -> None:
        """It has waited long enough; called by the wheel."""
        self.waiter.wait_over()


_Line = OrderedDict[bytes, "OrderedDict[Ticket, None]"]
"""Tickets by key; the key whose turn is next stands first."""


class WaitingRoom:
    """At most ``number`` tickets of one pool."""

    __slots__ = ("_lines", "_turn", "number", "size")

    def __init__(self, number: int) -> None:
        self.number = number
        self.size = 0
        self._turn = 0
        self._lines: dict[int, _Line] = {}

    def __len__(self) -> int:
        return self.size

    def enter(self, ticket: Ticket) -> Ticket | None:
        """Take a newcomer in. Returns the ticket that has to go for it: perhaps itself."""
        leaves = None
        if self.size >= self.number:
            leaves = self._longest(ticket)
            if leaves is ticket:
                return ticket
            self.leave(leaves)
        self._turn += 1
        ticket.turn = self._turn
        ticket.room = self
        line = self._lines.setdefault(ticket.home, OrderedDict())
        line.setdefault(ticket.key, OrderedDict())[ticket] = None
        self.size += 1
        return leaves

    def leave(self, ticket: Ticket) -> None:
        """A ticket is no longer needed; harmless when it has left already."""
        if ticket.room is not self:
            return
        ticket.room = None
        self.size -= 1
        line = self._lines[ticket.home]
        tickets = line[ticket.key]
        del tickets[ticket]
        if not tickets:
            del line[ticket.key]
            if not line:
                del self._lines[ticket.home]

    def take(self, index: int) -> Ticket | None:
        """Whose turn it is now that a server has a place; the ticket has left."""
        chosen: Ticket | None = None
        for home in (index, ANY):
            line = self._lines.get(home)
            if line is not None:
                ticket = next(iter(next(iter(line.values()))))
                if chosen is None or ticket.turn < chosen.turn:
                    chosen = ticket
        if chosen is not None:
            line = self._lines[chosen.home]
            self.leave(chosen)
            if chosen.key in line:
                line.move_to_end(chosen.key)
        return chosen

    def waiting_for(self, index: int) -> list[Ticket]:
        """Everyone who waits for this server alone."""
        line = self._lines.get(index)
        return [ticket for tickets in line.values() for ticket in tickets] if line else []

    def _longest(self, newcomer: Ticket) -> Ticket:
        """The last ticket of the key that has most; the newcomer if that has no fewer."""
        longest = newcomer
        if sum(map(len, self._lines.values())) == self.size:
            return longest  # nobody has more than one: the usual case
        own = self._lines.get(newcomer.home)
        most = len(own.get(newcomer.key, ())) + 1 if own else 1
        for line in self._lines.values():
            for tickets in line.values():
                if len(tickets) > most:
                    most = len(tickets)
                    longest = next(reversed(tickets))
        return longest
