"""Which server of a pool gets a request: nginx's four ways, and rendezvous hashing.

Keeps the pool's books, has no clock, and must not know connections or requests.
Source: ngx_http_upstream_round_robin.c, ngx_http_upstream_hash_module.c,
ngx_http_upstream_least_conn_module.c
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from math import inf
from typing import Final, Protocol

from synproxy.config.model import HashBalance, Pool, Server
from synproxy.core.health import Status
from synproxy.core.ketama import Ring
from synproxy.core.memo import Memo
from synproxy.core.peer import Peer, least_conn, round_robin
from synproxy.core.rendezvous import Draw

MEMO_ENTRIES = 4096
MEMO_KEY_LIMIT = 256  # bytes; longer keys (whole Authorization values) are hashed every time


ANY: Final = -1
"""Instead of a server: whichever comes first."""


class Hashing(Protocol):
    """A way from keys to servers; servers are counted in the order they were given."""

    def home(self, key: bytes) -> int:
        """The first choice."""

    def offers(self, key: bytes) -> Iterable[int]:
        """The choices in order, beginning with the first; repetitions are allowed."""


class Balancer:
    """Chooses among the servers of one pool; indexes count ``pool.servers`` from 0.

    A pool of one server ignores ``max_fails``, as nginx does. Two things are not nginx's: a key
    keeps its home while that restarts, and while it is full if the pool has a ``queue`` (HAProxy
    calls it affinity); whoever asks then has to wait, see :meth:`restarting` and :meth:`awaited`.
    """

    __slots__ = (
        "_backups",
        "_choose",
        "_groups",
        "_hashing",
        "_memo",
        "_patient",
        "_peers",
        "_plain",
        "_primaries",
        "_single",
        "servers",
    )

    def __init__(self, pool: Pool) -> None:
        self.servers: Sequence[Server] = pool.servers
        self._peers = [Peer(index, server) for index, server in enumerate(pool.servers)]
        self._primaries = [peer for peer in self._peers if not self.servers[peer.index].backup]
        self._backups = [peer for peer in self._peers if self.servers[peer.index].backup]
        self._single = len(self._peers) == 1
        self._choose = least_conn if pool.balance == "least_conn" else round_robin
        self._hashing: Hashing | None = None
        self._memo: Memo[bytes, int] = Memo(MEMO_ENTRIES)
        self._groups: list[list[Peer]] = []
        if isinstance(pool.balance, HashBalance) and len(self._primaries) > 1:
            self._hash(pool.balance.method)
        self._plain: list[int] = []
        self._patient = pool.queue is not None
        self._find_plain()

    def _find_plain(self) -> None:
        self._plain = [
            peers[0].index if len(peers) == 1 and peers[0].plain else -1 for peers in self._groups
        ]

    def _hash(self, method: str) -> None:
        known = [self.servers[peer.index] for peer in self._primaries]
        named = [(server.address, server.weight) for server in known]
        if method == "ketama":
            self._hashing = Ring(named)
            # nginx's points name an address; servers that share one take turns at them.
            self._groups = [
                [
                    peer
                    for peer in self._primaries
                    if self.servers[peer.index].address == server.address
                ]
                for server in known
            ]
        else:
            self._hashing = Draw(named)
            self._groups = [[peer] for peer in self._primaries]

    def pick(self, key: bytes, tried: Container[int], now: float) -> int | None:
        """nginx's choice for an attempt; None: there is no live server that was not tried.

        ``key`` is used by the hash methods; without one they fall back to round robin. ``now`` is
        in seconds, from a clock that never goes back.
        """
        if key and self._hashing is not None:
            place = self._memo.get(key)
            if place is None:
                place = self._home(key, self._hashing)
            index = self._plain[place]
            if index >= 0 and index not in tried:
                return index
            found = self._follow(key, place, tried, now, self._hashing)
            if found is not None:
                return found if found >= 0 else None
        if self._single:
            return self._only(tried)
        found = self._choose(self._primaries, tried, now)
        if found is None and self._backups:
            found = self._choose(self._backups, tried, now)
        return found

    def _home(self, key: bytes, hashing: Hashing) -> int:
        """The place of a key that the memo's young generation does not have."""
        place = self._memo.recall(key)
        if place is None:
            place = hashing.home(key)
            if len(key) <= MEMO_KEY_LIMIT:
                self._memo.store(key, place)
        return place

    def _follow(
        self, key: bytes, place: int, tried: Container[int], now: float, hashing: Hashing
    ) -> int | None:
        """The key's first usable server; None: too far from home, or there is none; ANY: it has
        to wait for one that is full."""
        for offered in chain((place,), hashing.offers(key)):
            group = self._groups[offered]
            found = round_robin(group, tried, now)
            if found is not None:
                return found
            for peer in group:
                if peer.plain or peer.down or peer.index in tried:
                    continue
                if peer.health == Status.RESTARTING:
                    return peer.index
                if self._patient and peer.full and peer.alive(now):
                    return ANY
        return None

    def _only(self, tried: Container[int]) -> int | None:
        peer = self._peers[0]
        return None if peer.down or peer.health or peer.full or 0 in tried else 0

    # --- when there is no choice

    def spill(self, key: bytes, tried: Container[int], now: float) -> int | None:
        """As :meth:`pick`, for a request that has waited long enough for its full home."""
        patient, self._patient = self._patient, False
        try:
            return self.pick(key, tried, now)
        finally:
            self._patient = patient

    def last_resort(self, key: bytes, tried: Container[int], now: float) -> int | None:
        """As :meth:`spill`, as if all servers were up: for a request that has no other way."""
        with self._set_aside("health"):
            for peer in self._peers:
                peer.health = Status.UP
            return self.spill(key, tried, now)

    def awaited(self, key: bytes, tried: Container[int], now: float) -> int | None:
        """The server whose place a request has to wait for, or ANY; None: no server is just full.

        For when :meth:`pick` has found nothing.
        """

        def just_full(peer: Peer) -> bool:
            if peer.index in tried or not peer.full:
                return False
            return not (peer.down or peer.health) if self._single else peer.alive(now)

        if key and self._hashing is not None:
            for offered in chain((self._hashing.home(key),), self._hashing.offers(key)):
                for peer in filter(just_full, self._groups[offered]):
                    return peer.index
        return ANY if any(map(just_full, self._peers)) else None

    def restarting(self, tried: Container[int] = ()) -> bool:
        """Whether a server that was not tried may be back soon."""
        return any(
            peer.health == Status.RESTARTING and not peer.down and peer.index not in tried
            for peer in self._peers
        )

    # --- the books

    @property
    def sticky(self) -> bool:
        """Whether keys have homes."""
        return self._hashing is not None

    def homes(self) -> dict[int, int]:
        """How many of the keys that came lately are at home at each server; of
        `MEMO_ENTRIES` at most, and some of them twice."""
        found = Counter(self._memo.values())
        return {group[0].index: found[place] for place, group in enumerate(self._groups)}

    def mark(self, index: int, health: int) -> None:
        """A server's :class:`Status` has changed."""
        self._peers[index].mark(health)
        self._find_plain()

    def drain(self, index: int, drained: bool) -> None:
        """Leave a server out, or no more, whatever its health: as if it were marked ``down``, so
        that only keys that are at home there go elsewhere."""
        peer = self._peers[index]
        peer.down = drained or self.servers[index].down
        peer.mark(peer.health)
        self._find_plain()

    def drained(self, index: int) -> bool:
        """Whether a server is left out by :meth:`drain`."""
        return self._peers[index].down and not self.servers[index].down

    def gone(self, index: int) -> bool:
        """Whether nobody should wait for a server."""
        return self._peers[index].down or self._peers[index].health == Status.DOWN

    def health(self, index: int) -> int:
        """A server's :class:`Status`."""
        return self._peers[index].health

    @property
    def any_up(self) -> bool:
        """Whether any server is up, as far as is known."""
        return any(peer.health == Status.UP and not peer.down for peer in self._peers)

    def places(self, index: int) -> float:
        """How many more requests a server may take; infinite without ``max_conns``."""
        peer = self._peers[index]
        if peer.down or peer.health:
            return 0
        return peer.max_conns - peer.conns if peer.max_conns else inf

    @property
    def in_use(self) -> bool:
        """Whether any attempt is under way."""
        return any(peer.conns for peer in self._peers)

    def acquired(self, index: int) -> None:
        """An attempt on a server starts."""
        self._peers[index].conns += 1

    def released(self, index: int, failed: bool, now: float) -> None:
        """An attempt has ended; ``failed``: what nginx counts as an unsuccessful attempt."""
        peer = self._peers[index]
        peer.conns -= 1
        peer.ended(failed, now)

    def preference(self, key: bytes) -> list[int]:
        """The servers in the order in which one request would try them, if each failed.

        Failures of the past do not count; ``down`` and full servers are left out. Changes nothing.
        """
        order: list[int] = []
        with self._set_aside("current_weight", "effective_weight", "fails", "checked", "health"):
            for peer in self._peers:
                peer.fails = 0
                peer.health = Status.UP
            while (index := self.spill(key, order, 0.0)) is not None:
                order.append(index)
        return order

    @contextmanager
    def _set_aside(self, *fields: str) -> Iterator[None]:
        """Put these fields of all servers back afterwards."""
        kept = [[getattr(peer, field) for field in fields] for peer in self._peers]
        try:
            yield
        finally:
            for peer, values in zip(self._peers, kept, strict=True):
                for field, value in zip(fields, values, strict=True):
                    setattr(peer, field, value)
