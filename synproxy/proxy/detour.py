"""What an exchange remembers once its way is not straight, and an answer that may send it on.

Must not know how requests are sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from synproxy.core.misroute import MAX_ANSWER, is_unrecognized

if TYPE_CHECKING:
    from synproxy.core.response import ResponseHead
    from synproxy.core.waiting import Ticket
    from synproxy.errors import UpstreamError

CUTS: Final = 3
"""How often one request may be cut by a server that then takes connections again: it may be the
request that the server cannot bear."""


class Detour:
    """Made at the first failure or wait. Contains the servers that were tried, as the balancer
    wants to know them; times are the wheel's."""

    __slots__ = (
        "_earlier",
        "cut_by",
        "cuts",
        "hold_until",
        "judged",
        "queue_until",
        "queued",
        "ticket",
        "tried",
    )

    def __init__(self) -> None:
        self.tried: set[int] = set()
        self._earlier = 0
        self.cuts = 0
        self.cut_by = -1
        """A tried server that hung up and may be restarting; -1: there is none."""
        self.hold_until = 0.0
        """The end of all waiting for servers that restart; 0: it has not begun."""
        self.queue_until = 0.0
        """The same for places on full servers."""
        self.ticket: Ticket | None = None
        """While it waits."""
        self.queued = False
        """What it waits for: a place, not a restart."""
        self.judged = False
        """An answer was looked into for M_UNRECOGNIZED; that is done once."""

    def __contains__(self, index: object) -> bool:
        return index in self.tried

    @property
    def tries(self) -> int:
        """How many servers were tried, in all pools."""
        return self._earlier + len(self.tried)

    def enter_pool(self) -> None:
        """Another pool takes over: its servers are new, and so is its patience."""
        self._earlier += len(self.tried)
        self.tried = set()
        self.cuts = 0
        self.cut_by = -1
        self.hold_until = self.queue_until = 0.0


class Doubtful(Protocol):
    """An exchange whose answer is held back."""

    def response(self, head: ResponseHead | None, pieces: list[bytes], done: bool) -> None: ...

    def ask_again(self, status: int) -> None: ...

    def trust(self) -> None: ...

    def server_failed(self, error: UpstreamError) -> None: ...

    def server_writable(self, writable: bool) -> None: ...


class Doubt:
    """The sink of a server connection while it is not clear whether an answer goes to the client.
    Only answers that are small and JSON, and say 404 or 405, ever get here."""

    __slots__ = ("_exchange", "_head", "_pieces")

    def __init__(self, exchange: Doubtful, head: ResponseHead) -> None:
        self._exchange = exchange
        self._head = head
        self._pieces: list[bytes] = []

    def response(self, head: ResponseHead | None, pieces: list[bytes], done: bool) -> None:
        """More of the body. It is judged when it is complete, or passed on when it grows."""
        self._pieces += pieces
        if done and is_unrecognized(b"".join(self._pieces)):
            self._exchange.ask_again(self._head.shape.status)
        elif done or sum(map(len, self._pieces)) > MAX_ANSWER:
            self._exchange.trust()
            self._exchange.response(self._head, self._pieces, done)

    def whole_response(self, head: ResponseHead, payload: bytes, framed: bytes) -> None:
        """Never: the head was seen before."""

    def server_failed(self, error: UpstreamError) -> None:
        """The answer was cut before anything of it went to the client."""
        self._exchange.server_failed(error)

    def server_writable(self, writable: bool) -> None:
        """The request has been sent whole; passed on all the same."""
        self._exchange.server_writable(writable)

    def switched(self, head: ResponseHead, early: bytes) -> None:
        """Never: this is no 101."""

    def tunnel_reply(self, data: bytes) -> None:
        """Never, as above."""

    def tunnel_reply_end(self) -> bool:
        """Never, as above."""
        return False
