"""Errors, split by who is to blame: the configuration, the client, or a Synapse server.

Exceptions hold facts. What follows from them (retry, status, log line) is decided in ``core``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SynproxyError(Exception):
    """Base of every error that synproxy raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration file; lines and columns count from 1 (0: in no line)."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    @property
    def place(self) -> str:
        """``file:line:column``."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}"
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(SynproxyError):
    """The configuration cannot be used; ``problems`` holds every mistake found."""

    def __init__(self, problems: tuple[Problem, ...] | list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class DownstreamError(SynproxyError):
    """The client sent something that is answered with a 4xx or 5xx by ourselves.

    ``status`` is the answer, ``reason`` is for the log and never contains request data that
    could hold a token.
    """

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(f"{status}: {reason}")


class Failure(StrEnum):
    """How an attempt on a server failed; the names follow nginx's proxy_next_upstream."""

    CONNECT = "connect"  # permission, no route...: nothing was sent
    REFUSED = "refused"  # nobody listens, or the socket is missing: nothing was sent
    EXHAUSTED = "exhausted"  # no descriptor or memory is left here: nothing against the server
    CONNECT_TIMEOUT = "connect_timeout"
    STALE = "stale"  # a reused connection closed before any byte of the answer
    CLOSED = "closed"  # a fresh connection closed or reset before any byte of the answer
    SEND_TIMEOUT = "send_timeout"
    READ_TIMEOUT = "read_timeout"
    INVALID = "invalid_header"  # the answer is not HTTP we accept
    TRUNCATED = "truncated"  # the answer ended inside its head or body


class UpstreamError(SynproxyError):
    """An attempt on a server failed."""

    def __init__(self, failure: Failure, reason: str) -> None:
        self.failure = failure
        self.reason = reason
        super().__init__(f"{failure}: {reason}")
