"""Keeps an allowlist from being walked around by writing the path differently.

Routes are chosen on nginx's view of the path while the raw bytes are forwarded, so a server may
read another path than the one that was routed (docs/adr/0003). Where another view would have led
to a route with allowlists, those must permit the client too. This module must not know addresses.
"""

from __future__ import annotations

from collections.abc import Collection

from synproxy.core.memo import Memo
from synproxy.core.routes import RouteTable
from synproxy.core.target import is_clean, views

MEMO_ENTRIES = 2048
MEMO_KEY_LIMIT = 512  # bytes of path and method together


class Guard:
    """``guarded`` holds the indexes of the routes that have allowlists."""

    __slots__ = ("_guarded", "_memo", "_only_guarded", "_table")

    def __init__(self, table: RouteTable, guarded: Collection[int]) -> None:
        self._table = table
        self._guarded = frozenset(guarded)
        # A view that selects a guarded route in the whole table selects one among these too, and
        # they are few: an ordinary path is done after one look at its first segment.
        self._only_guarded = RouteTable([table.routes[index] for index in sorted(self._guarded)])
        self._memo: Memo[tuple[bytes, bytes], tuple[int, ...]] = Memo(MEMO_ENTRIES)

    def guards(self, raw_path: bytes, method: bytes) -> tuple[int, ...]:
        """Indexes of the routes, other than the matched one, whose allowlists must also permit.

        Raises DownstreamError(400) for a path that ``normalise_path`` refuses.
        """
        if not self._guarded or is_clean(raw_path):
            return ()
        key = (raw_path, method)
        found = self._memo.recall(key)
        if found is None:
            found = self._judge(raw_path, method)
            if len(raw_path) + len(method) <= MEMO_KEY_LIMIT:
                self._memo.store(key, found)
        return found

    def _judge(self, raw_path: bytes, method: bytes) -> tuple[int, ...]:
        normalised, *others = views(raw_path)
        extra: set[int] = set()
        for view in others:
            if self._only_guarded.match(view, method) is not None:
                match = self._table.match(view, method)
                if match is not None and match.index in self._guarded:
                    extra.add(match.index)
        if extra:
            routed = self._table.match(normalised, method)
            if routed is not None:
                extra.discard(routed.index)
        return tuple(sorted(extra))
