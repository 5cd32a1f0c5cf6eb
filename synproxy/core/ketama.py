"""The ring of nginx's ``hash KEY consistent``: the same points, so the same server for a key.

This module must not know which servers are alive.
Source: ngx_http_upstream_hash_module.c, ngx_http_upstream_init_chash(); the points are those of
Cache::Memcached::Fast: crc32(HOST \\0 PORT PREVIOUS_HASH).
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from zlib import crc32

POINTS_PER_WEIGHT = 160
"""nginx's; a ring needs 8 bytes for each point of each server."""

POINTS_TRIED = 21
"""The key's own point and nginx's 20 tries."""

_HOST_AND_PORT = re.compile(rb"(.*):([0-9]*)", re.DOTALL)


def hashed_name(address: str) -> bytes:
    """What of an address goes into its points: the host, a zero byte, the port.

    The host of ``unix:/path`` is the path. The address counts as it is written: ``localhost:80``
    and ``127.0.0.1:80`` have different points.
    """
    name = address.encode()
    if name[:5].lower() == b"unix:":
        return name[5:] + b"\0"
    parts = _HOST_AND_PORT.fullmatch(name)
    return name + b"\0" if parts is None else parts[1] + b"\0" + parts[2]


def points_of(address: str, weight: int) -> Iterable[int]:
    """The 160 x weight points of one server, each hashed from the one before."""
    base = crc32(hashed_name(address))
    point = 0
    for _ in range(POINTS_PER_WEIGHT * weight):
        point = crc32(point.to_bytes(4, "little"), base)
        yield point


class Ring:
    """All points in order, and whose they are.

    ``owners`` are positions in ``servers``; of two servers with the same point, the first keeps it.
    """

    __slots__ = ("_owners", "_points")

    def __init__(self, servers: Iterable[tuple[str, int]]) -> None:
        found: dict[int, int] = {}
        for index, (address, weight) in enumerate(servers):
            for point in points_of(address, weight):
                found.setdefault(point, index)
        ordered = sorted(found)
        self._points = array("I", ordered)
        self._owners = array("I", [found[point] for point in ordered])

    def __len__(self) -> int:
        return len(self._points)

    def home(self, key: bytes) -> int:
        """The owner of the first point that is not below the key's hash; past the last, round."""
        return self._owners[self._position(key)]

    def offers(self, key: bytes) -> Iterable[int]:
        """The owners of the key's point and of the 20 points after it.

        nginx counts points, not servers: after these it falls back to round robin.
        """
        start = self._position(key)
        for step in range(POINTS_TRIED):
            yield self._owners[(start + step) % len(self._owners)]

    def _position(self, key: bytes) -> int:
        found = bisect_left(self._points, crc32(key))
        return found if found < len(self._points) else 0
