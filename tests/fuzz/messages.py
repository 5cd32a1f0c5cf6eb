"""Requests and answers that know what they mean, and a reader of what a client got.

Every request has a path of its own, and every answer says to which request and attempt it belongs,
so that one which reaches the wrong client is seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tests.support.client import CHUNK_SIZE, FIELD, STATUS_LINE


def filling(tag: bytes, size: int) -> bytes:
    """A body of ``size`` bytes, which no other tag has."""
    return ((b"<%b>" % tag) * (size // (len(tag) + 2) + 1))[:size]


def chunks(body: bytes, sizes: list[int]) -> list[bytes]:
    """Cut a body; the last size is repeated."""
    pieces, at, turn = [], 0, 0
    while at < len(body):
        size = max(1, sizes[min(turn, len(sizes) - 1)])
        pieces.append(body[at : at + size])
        at += size
        turn += 1
    return pieces


@dataclass
class Ask:
    """A request as a client sends it. ``broken``: its chunks are not what they should be."""

    path: bytes
    method: bytes
    minor: int
    framing: str  # "none", "length" or "chunked"
    body: bytes
    sizes: list[int]
    expect: bool = False
    close: bool = False
    upgrade: bool = False
    broken: bool = False
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def idempotent(self) -> bool:
        return self.method not in (b"POST", b"LOCK", b"PATCH")

    @property
    def refused(self) -> bool:
        """Whether synproxy must not forward all of it."""
        return self.broken or (self.framing == "chunked" and self.minor == 0)

    def head(self) -> bytes:
        lines = [b"%b %b HTTP/1.%d" % (self.method, self.path, self.minor), b"Host: a.example"]
        if self.framing == "length":
            lines.append(b"Content-Length: %d" % len(self.body))
        elif self.framing == "chunked":
            lines.append(b"Transfer-Encoding: chunked")
        if self.expect:
            lines.append(b"Expect: 100-continue")
        if self.upgrade:
            lines += [b"Connection: upgrade", b"Upgrade: websocket"]
        elif self.close:
            lines.append(b"Connection: close")
        elif not self.minor:
            lines.append(b"Connection: keep-alive")
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def raw(self) -> bytes:
        return self.head() + framed(self.body, self.framing, self.sizes, self.broken)


def framed(body: bytes, framing: str, sizes: list[int], broken: bool = False) -> bytes:
    """The body as it goes over the wire; ``broken``: with something after its first chunk."""
    if framing != "chunked":
        return body
    coded = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in chunks(body, sizes)]
    if broken:
        coded[1:] = [b"zz\r\n\r\n"]
    return b"".join(coded) + b"0\r\n\r\n"


def payload_of(raw: bytes, framing: str) -> bytes:
    """What the beginning of a framed body carries."""
    if framing != "chunked":
        return raw
    body = b""
    while True:
        size, end, rest = raw.partition(b"\r\n")
        if not end or CHUNK_SIZE.fullmatch(size) is None:
            return body
        count = int(size, 16)
        body += rest[:count]
        raw = rest[count + 2 :]


@dataclass
class Attempt:
    """A request as a server has it, and what the server does with it."""

    number: int
    ask: Ask | None
    """None: a question of synproxy's own."""
    request: bytes = b""
    whole: bool = False
    reply: Reply | None = None
    sent: int = 0
    """Bytes of the reply that were sent."""

    @property
    def begun(self) -> bool:
        """Whether the head of the reply has gone out."""
        return self.reply is not None and self.sent >= len(self.reply.head)

    @property
    def done(self) -> bool:
        """Whether the reply is complete by itself."""
        reply = self.reply
        return (
            reply is not None
            and not reply.broken
            and reply.framing != "close"
            and self.sent >= len(reply.raw)
        )

    def payload(self) -> bytes:
        """What the part of the reply that was sent carries."""
        assert self.reply is not None
        if self.reply.broken:
            return self.reply.body
        return payload_of(self.reply.raw[len(self.reply.head) : self.sent], self.reply.framing)


@dataclass
class Reply:
    """An answer as a server sends it. ``framing``: "none", "length", "chunked" or "close".
    ``broken``: cannot be taken for a whole answer."""

    status: int
    framing: str
    body: bytes
    head: bytes
    raw: bytes
    keeps: bool
    broken: bool = False
    interim: bytes = b""


def reply_to(
    attempt: Attempt,
    *,
    status: int,
    framing: str,
    size: int,
    sizes: list[int],
    keeps: bool,
    interim: int,
    broken: bool,
) -> Reply:
    """An answer to an attempt; whatever HTTP does not allow for its method is left out."""
    method = attempt.ask.method if attempt.ask is not None else b"GET"
    bodiless = method == b"HEAD" or status in (204, 304)
    body = filling(b"answer %d" % attempt.number, size)
    lines = [b"HTTP/1.1 %d Told" % status, b"X-Attempt: %d" % attempt.number]
    if status == 204:
        framing = "none"
    elif framing == "none":
        framing = "length"
    if framing == "length":
        lines.append(b"Content-Length: %d" % len(body))
    elif framing == "chunked":
        lines.append(b"Transfer-Encoding: chunked")
    if not keeps:
        lines.append(b"Connection: close")
    head = b"\r\n".join(lines) + b"\r\n\r\n"
    before = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * interim
    if bodiless:
        framing, body = "none", b""
    broken = broken and framing == "chunked" and bool(body)
    raw = before + head + framed(body, framing, sizes, broken)
    return Reply(status, framing, body, before + head, raw, keeps and framing != "close", broken)


def switch(attempt: Attempt) -> Reply:
    """101, asked for or not."""
    head = (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        b"X-Attempt: %d\r\n\r\n" % attempt.number
    )
    return Reply(101, "tunnel", b"", head, head, False)


# --- what a client got


@dataclass
class Answer:
    """One answer in a client's bytes, as far as it has come."""

    status: int
    fields: dict[bytes, bytes]
    framing: str
    body: bytes
    complete: bool
    end: int
    """Where it ends in the client's bytes, if it is complete."""

    @property
    def attempt(self) -> int | None:
        """The number of the attempt it belongs to; None: synproxy made it."""
        number = self.fields.get(b"x-attempt")
        return None if number is None else int(number)

    @property
    def closes(self) -> bool:
        return self.fields.get(b"connection", b"").lower() == b"close"


class Malformed(AssertionError):  # noqa: N818 (an assertion)
    """A client got what no strict reader takes."""


_PLAIN_HEAD: Final = 64 * 1024


def read_answer(data: bytes, at: int, method: bytes) -> Answer | None:
    """The answer that begins at ``at``; None: its head is not complete.

    :raises Malformed: no careful reader would take it.
    """
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        if len(data) - at > _PLAIN_HEAD:
            raise Malformed("a head without an end")
        return None
    line, *lines = data[at:end].split(b"\r\n")
    match = STATUS_LINE.fullmatch(line)
    if match is None:
        raise Malformed(f"status line {line[:100]!r}")
    status = int(match[2])
    fields: dict[bytes, bytes] = {}
    for text in lines:
        one = FIELD.fullmatch(text)
        if one is None or one[1].lower() in fields:
            raise Malformed(f"field line {text[:100]!r}")
        fields[one[1].lower()] = one[2]
    start = end + 4
    if status < 200 or status in (204, 304) or method == b"HEAD":
        return Answer(status, fields, "none", b"", True, start)
    if b"transfer-encoding" in fields:
        if fields[b"transfer-encoding"] != b"chunked" or b"content-length" in fields:
            raise Malformed(f"framing {fields}")
        body, finish = _read_chunks(data, start)
        return Answer(status, fields, "chunked", body, finish >= 0, finish)
    if b"content-length" in fields:
        stop = start + int(fields[b"content-length"])
        return Answer(status, fields, "length", data[start:stop], len(data) >= stop, stop)
    return Answer(status, fields, "close", data[start:], False, len(data))


def _read_chunks(data: bytes, at: int) -> tuple[bytes, int]:
    body = b""
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return body, -1
        if CHUNK_SIZE.fullmatch(data, at, end) is None:
            raise Malformed(f"chunk size {data[at:end][:50]!r}")
        size = int(data[at:end], 16)
        stop = end + 2 + size
        body += data[end + 2 : stop]
        if len(data) < stop + 2:
            return body, -1
        if data[stop : stop + 2] != b"\r\n":
            raise Malformed("a chunk without its line end, or trailers")
        at = stop + 2
        if size == 0:
            return body, at
