"""Which server of a pool gets a request: nginx's four ways, and rendezvous hashing.

Keeps the pool's books, has no clock, and must not know connections or requests.
Source: ngx_http_upstream_round_robin.c, ngx_http_upstream_hash_module.c,
ngx_http_upstream_least_conn_module.c
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Protocol

from synproxy.config.model import HashBalance, Pool, Server
from synproxy.core.ketama import Ring
from synproxy.core.memo import Memo
from synproxy.core.peer import Peer, least_conn, round_robin
from synproxy.core.rendezvous import Draw

MEMO_ENTRIES = 4096
MEMO_KEY_LIMIT = 256  # bytes; longer keys (whole Authorization values) are hashed every time


class Hashing(Protocol):
    """A way from keys to servers; servers are counted in the order they were given."""

    def home(self, key: bytes) -> int:
        """The first choice."""

    def offers(self, key: bytes) -> Iterable[int]:
        """The choices in order, beginning with the first; repetitions are allowed."""


class Balancer:
    """Chooses among the servers of one pool; indexes count ``pool.servers`` from 0.

    A pool of one server ignores ``max_fails``, as nginx does.
    """

    __slots__ = (
        "_backups",
        "_choose",
        "_groups",
        "_hashing",
        "_memo",
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
                return found
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
        """The key's first usable server; None: too far from home, or there is none."""
        found = round_robin(self._groups[place], tried, now)
        if found is None:
            for offered in hashing.offers(key):
                found = round_robin(self._groups[offered], tried, now)
                if found is not None:
                    break
        return found

    def _only(self, tried: Container[int]) -> int | None:
        peer = self._peers[0]
        full = 0 < peer.max_conns <= peer.conns
        return None if peer.down or full or 0 in tried else 0

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
        kept = [
            (peer, peer.current_weight, peer.effective_weight, peer.fails, peer.checked)
            for peer in self._peers
        ]
        order: list[int] = []
        try:
            for peer in self._peers:
                peer.fails = 0
            while (index := self.pick(key, order, 0.0)) is not None:
                order.append(index)
        finally:
            for peer, current, effective, fails, checked in kept:
                peer.current_weight, peer.effective_weight = current, effective
                peer.fails, peer.checked = fails, checked
        return order
