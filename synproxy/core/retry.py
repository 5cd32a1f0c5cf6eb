"""After a failed attempt: try another server, or what to answer (nginx ``proxy_next_upstream``).

Promise: a POST is never sent twice. A request is repeated only when nothing of it was sent, or
when it is idempotent (RFC 9110 section 9.2.2) and nothing of an answer came back.
"""

from __future__ import annotations

from typing import Final

from synproxy.errors import Failure

NON_IDEMPOTENT: Final = frozenset({b"POST", b"LOCK", b"PATCH"})
"""nginx's list; every other method may be repeated."""

NOT_THE_SERVER: Final = frozenset({Failure.STALE, Failure.EXHAUSTED})
"""What does not count as a failed attempt (``max_fails``)."""

_CONDITION: Final = {
    Failure.CONNECT: "error",
    Failure.REFUSED: "error",
    Failure.EXHAUSTED: "",  # another server would need a descriptor, too
    Failure.STALE: "error",
    Failure.CLOSED: "error",
    Failure.TRUNCATED: "error",
    Failure.CONNECT_TIMEOUT: "timeout",
    Failure.SEND_TIMEOUT: "timeout",
    Failure.READ_TIMEOUT: "timeout",
    Failure.INVALID: "invalid_header",
}


def may_retry(
    failure: Failure,
    method: bytes,
    *,
    sent: bool,
    replayable: bool,
    conditions: frozenset[str],
) -> bool:
    """Whether the request may go to a server again; bounds on tries are the caller's.

    ``sent``: a byte of the request was handed to the server's connection. ``replayable``: all
    of the body sent so far is still at hand. ``conditions``: ``proxy_next_upstream``.
    """
    if sent and (
        not replayable or (method in NON_IDEMPOTENT and "non_idempotent" not in conditions)
    ):
        return False
    # A stale keep-alive connection says nothing about the server, so it is retried even with
    # `proxy_next_upstream off` (nginx gives a cached peer one try more).
    return failure is Failure.STALE or _CONDITION[failure] in conditions


def status_for(failure: Failure) -> int:
    """502 (Bad Gateway), 504 (Gateway Timeout), or 503 where it is we who cannot."""
    if failure is Failure.EXHAUSTED:
        return 503
    return 504 if _CONDITION[failure] == "timeout" else 502
