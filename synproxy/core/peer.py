"""What a pool remembers of one server, and the two choices nginx builds on it.

Field names are nginx's (ngx_http_upstream_rr_peer_t). This module must not know keys or pools.
Source: ngx_http_upstream_round_robin.c, ngx_http_upstream_least_conn_module.c
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from math import inf

from synproxy.config.model import Server
from synproxy.core.health import Status


class Peer:
    """The books of one server. Times are seconds of the caller's clock."""

    __slots__ = (
        "accessed",
        "checked",
        "conns",
        "current_weight",
        "down",
        "effective_weight",
        "fail_timeout",
        "fails",
        "health",
        "index",
        "max_conns",
        "max_fails",
        "plain",
        "weight",
    )

    def __init__(self, index: int, server: Server) -> None:
        self.index = index
        self.weight = server.weight
        self.max_fails = server.max_fails
        self.fail_timeout = server.fail_timeout
        self.max_conns = server.max_conns
        self.down = server.down
        self.current_weight = 0
        self.effective_weight = server.weight
        self.conns = 0
        self.fails = 0
        self.accessed = -inf
        self.checked = -inf
        self.health = Status.UP
        self.plain = False
        """Always usable until its health changes: there is nothing to look at."""
        self.mark(Status.UP)

    def mark(self, health: int) -> None:
        """Note a :class:`Status`. Failures of a server that has come back are forgotten."""
        self.health = health
        self.plain = not (self.max_fails or self.max_conns or self.down or health)
        if health == Status.UP:
            self.fails = 0

    @property
    def full(self) -> bool:
        """At ``max_conns``."""
        return 0 < self.max_conns <= self.conns

    def alive(self, now: float) -> bool:
        """Not marked down, up as far as is known, and not out after ``max_fails`` failures."""
        return not (
            self.down
            or self.health
            or (
                self.max_fails
                and self.fails >= self.max_fails
                and now - self.checked <= self.fail_timeout
            )
        )

    def usable(self, now: float) -> bool:
        """Alive and not full."""
        return self.plain or (not 0 < self.max_conns <= self.conns and self.alive(now))

    def chosen(self, now: float) -> int:
        """Its index. After ``fail_timeout`` this request is the one that checks the server."""
        if now - self.checked > self.fail_timeout:
            self.checked = now
        return self.index

    def ended(self, failed: bool, now: float) -> None:
        """Note how an attempt ended."""
        if failed:
            self.fails += 1
            self.accessed = self.checked = now
            if self.max_fails:
                lowered = self.effective_weight - self.weight // self.max_fails
                self.effective_weight = max(lowered, 0)
        elif self.accessed < self.checked:
            self.fails = 0  # a check after fail_timeout has passed


def round_robin(peers: Sequence[Peer], tried: Container[int], now: float) -> int | None:
    """Smooth weighted round robin over the usable peers that were not tried."""
    best: Peer | None = None
    total = 0
    for peer in peers:
        if peer.index in tried or not (peer.plain or peer.usable(now)):
            continue
        effective = peer.effective_weight
        peer.current_weight += effective
        total += effective
        if effective < peer.weight:
            peer.effective_weight = effective + 1
        if best is None or peer.current_weight > best.current_weight:
            best = peer
    if best is None:
        return None
    best.current_weight -= total
    return best.chosen(now)


def least_conn(peers: Sequence[Peer], tried: Container[int], now: float) -> int | None:
    """The peer with the fewest attempts under way for its weight; among equals, round robin."""
    best: Peer | None = None
    equals: list[Peer] = []
    for peer in peers:
        if peer.index in tried or not (peer.plain or peer.usable(now)):
            continue
        if best is None:
            difference = -1
        else:
            difference = peer.conns * best.weight - best.conns * peer.weight
        if difference < 0:
            best = peer
            equals = [peer]
        elif difference == 0:
            equals.append(peer)
    if best is None:
        return None
    if len(equals) == 1:
        return best.chosen(now)
    return round_robin(equals, (), now)
