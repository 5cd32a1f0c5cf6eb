"""What a stand-in server is told to answer, and what it writes down.

Plain data and the reading of chunked bodies; knows no sockets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

HEAD_END = b"\r\n\r\n"


class Then(Enum):
    """What a server does with its connection once the parts of its answer are written."""

    KEEP = "keep"
    CLOSE = "close"
    RESET = "reset"
    HANG = "hang"
    ECHO = "echo"  # every further byte goes back: the far end of a tunnel


class Wait:
    """A part of an answer that is not bytes: stop until the test calls ``Recorder.release``."""


WAIT = Wait()


@dataclass(frozen=True, slots=True)
class Answer:
    """One scripted answer: its parts in order, then the fate of the connection.

    ``early`` answers as soon as the head is there, without waiting for the body.
    """

    parts: tuple[bytes | Wait, ...] = ()
    then: Then = Then.KEEP
    early: bool = False


CLOSES = re.compile(rb"\r\nConnection: *close\r\n", re.IGNORECASE)
DEFAULT_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"


def default_answer(head: bytes) -> Answer:
    """What Synapse would do with a request: JSON, and close the connection if told so."""
    body = b"" if head.startswith(b"HEAD ") else b"{}"
    if CLOSES.search(head):
        return Answer((DEFAULT_HEAD + b"Connection: close\r\n\r\n" + body,), Then.CLOSE)
    return Answer((DEFAULT_HEAD + b"\r\n" + body,))


@dataclass(frozen=True, slots=True)
class Received:
    """One request as a server saw it.

    ``framing`` is none, length or chunked; ``cut`` if the connection ended before the body did;
    ``early`` if it was answered before its body was looked at.
    """

    case: bytes
    server: str
    connection: int
    head: bytes
    body: bytes
    framing: str


def chunked_end(buffer: bytearray) -> int | None:
    """Where a chunked body ends, its trailer section included; None: not there yet."""
    at = 0
    while True:
        line = buffer.find(b"\r\n", at)
        if line < 0:
            return None
        size = int(bytes(buffer[at:line]).partition(b";")[0], 16)
        if size == 0:
            break
        at = line + 2 + size + 2
    end = buffer.find(HEAD_END, line)
    return None if end < 0 else end + 4


def dechunk(body: bytes) -> bytes:
    """The content of a complete chunked body."""
    return b"".join(_chunks(body))


def _chunks(body: bytes) -> Iterator[bytes]:
    at = 0
    while True:
        line = body.index(b"\r\n", at)
        size = int(body[at:line].partition(b";")[0], 16)
        if size == 0:
            return
        yield body[line + 2 : line + 2 + size]
        at = line + 2 + size + 2
