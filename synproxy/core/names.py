"""Servers that are known by name: what is looked up, and what pools become of the answers.

A server that came of a name has an identity that stays the same while it is the same server: its
address and port, or, of an SRV record, the target's name and port, whatever address that has now.
The hash ring is made of these, so that an answer in another order, or with one server more, moves
no key that it need not. Must not know how names are looked up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import gcd
from typing import Final, NamedTuple

from synproxy.config.model import Config, Pool, Server

_MAX_WEIGHT: Final = 100
"""The largest weight after scaling; a ring has 160 points for each unit."""


class Found(NamedTuple):
    """One server behind a name."""

    address: str
    """Its identity, as ``host:port``."""
    places: tuple[str, ...]
    """The IP addresses to connect to, in this order."""
    priority: int = 0
    weight: int = 1


Known = Mapping[str, tuple[Found, ...]]
"""The last good answers, by :func:`name_of`."""


class ResolvedServer(Server):
    """A server that came of a name."""

    places: tuple[str, ...]
    """The IP addresses to connect to."""
    name: str
    """What its certificate is to have."""


def is_service(name: str) -> bool:
    """Whether a name is one of SRV records, such as ``_synapse._tcp.example.org``."""
    return name.startswith("_")


def name_of(server: Server) -> str:
    """What is to be looked up for a server: an SRV name, ``host:port``, or nothing."""
    return server.address if server.resolve else ""


def names_of(config: Config) -> list[str]:
    """All names of a configuration, each once."""
    servers = (server for pool in config.pools.values() for server in pool.servers)
    return list(dict.fromkeys(name for server in servers if (name := name_of(server))))


def expand(pool: Pool, known: Known) -> Pool:
    """The pool with the servers behind its names. A name that is not known yet stays as it is."""
    if not any(server.resolve for server in pool.servers):
        return pool
    servers: dict[str, Server] = {}
    for server in pool.servers:
        for one in _behind(server, known.get(name_of(server), ())):
            servers.setdefault(one.address, one)
    return pool.model_copy(update={"servers": tuple(servers.values())})


def _behind(server: Server, found: tuple[Found, ...]) -> Iterable[Server]:
    if not found:
        return [server]
    # RFC 2782: a client must try the lowest-numbered priority it can reach; as in nginx, the
    # others are backups.
    first = min(one.priority for one in found)
    scale = _scale([one.weight for one in found])
    given = server.model_dump() | {"resolve": False}
    name = server.address.rpartition(":")[0]
    return [
        ResolvedServer.model_validate(
            given
            | {
                "address": one.address,
                "places": one.places,
                "name": name or one.address.rpartition(":")[0],
                "weight": server.weight * scale(one.weight),
                "backup": server.backup or one.priority > first,
            }
        )
        for one in found
    ]


def _scale(weights: list[int]) -> _Scale:
    """Weights of SRV records go up to 65535, and a ring must not have millions of points."""
    divisor = gcd(*weights) or 1
    return _Scale(divisor, max(weights) // divisor)


class _Scale(NamedTuple):
    divisor: int
    largest: int

    def __call__(self, weight: int) -> int:
        weight //= self.divisor
        if self.largest > _MAX_WEIGHT:
            weight = round(weight * _MAX_WEIGHT / self.largest)
        return max(weight, 1)  # 0 is a server that is hardly ever chosen (RFC 2782)
