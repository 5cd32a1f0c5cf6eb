"""Bounds that have no directive in nginx, with their precedents."""

from __future__ import annotations

import errno
from typing import Final

EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What the kernel says when no descriptor or memory is left."""

REPLAY_BODY: Final = 64 * 1024
"""Bytes of a request body kept for a retry. nginx keeps all of it, in memory or on disk; a Matrix
event is at most 64 KiB, a media upload is never repeated."""

BODY_HIGH_WATER: Final = 64 * 1024
"""Bytes of a request body held while there is no server connection yet (asyncio's default
high-water mark)."""

DISCARD_BODY: Final = 64 * 1024
"""An unread request body up to this size is read and dropped, so that the connection lives on
after an early answer."""

PIPELINED: Final = 64 * 1024
"""Bytes of further requests taken from the socket while one is being answered."""

SPLICED_BODY: Final = 128 * 1024
"""Bytes of a body still to come from which on they are not copied (docs/adr/0020): to set that up
costs as much as to copy 64 KiB."""

SPLICES: Final = 64
"""Large bodies of one child that go through a pipe at the same time (the others are copied): each
takes four descriptors and up to 256 KiB of the 64 MiB that Linux gives one user for all pipes."""

RESPONSE_HEAD: Final = 128 * 1024
"""A server's head (the seed's ``proxy_buffer_size 128k``)."""

INTERIM_RESPONSES: Final = 16
"""1xx answers before the final one."""

HELD_REQUESTS: Final = 10_000
"""Requests of one pool that wait for servers which restart (``restart_hold``)."""

ADMITTED_AT_ONCE: Final = 50
"""Waiting requests that a server gets at one tick of the timer: as many as Twisted's listen
backlog takes, so that a worker that has just started is not met by thousands of connections."""
