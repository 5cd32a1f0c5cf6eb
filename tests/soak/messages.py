"""Reading HTTP/1.1 from streams, strictly, for both ends of a soak."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass

from tests.support.client import CHUNK_SIZE, FIELD


class BrokenError(Exception):
    """Not a well-formed message."""


@dataclass
class Message:
    """``line``: the start line. ``whole``: the body has come to its end."""

    line: str
    fields: dict[str, str]
    body: bytes
    whole: bool

    @property
    def content(self) -> bytes:
        """The body without gzip."""
        if self.fields.get("content-encoding") != "gzip":
            return self.body
        return zlib.decompress(self.body, 16 + zlib.MAX_WBITS)


async def read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]] | None:
    """Start line and fields; None at a clean end.

    :raises BrokenError: on anything else; OSError: the connection was reset.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise BrokenError(f"cut inside a head: {error.partial[:80]!r}") from error
        return None
    line, *lines = head[:-4].split(b"\r\n")
    fields: dict[str, str] = {}
    for text in lines:
        match = FIELD.fullmatch(text)
        if match is None:
            raise BrokenError(f"field line {text[:80]!r}")
        fields[match[1].decode().lower()] = match[2].decode("latin-1")
    return line.decode("latin-1"), fields


async def read_body(
    reader: asyncio.StreamReader, fields: dict[str, str], pause: float = 0.0
) -> tuple[bytes, bool]:
    """The body, and whether it is whole. ``pause``: seconds before each piece, for slow readers."""
    body = bytearray()
    try:
        if fields.get("transfer-encoding") == "chunked":
            while True:
                line = await reader.readuntil(b"\r\n")
                if CHUNK_SIZE.fullmatch(line[:-2]) is None:
                    raise BrokenError(f"chunk size {line[:40]!r}")
                size = int(line, 16)
                await _read(reader, size, body, pause)
                if await reader.readexactly(2) != b"\r\n":
                    raise BrokenError("a chunk without its line end")
                if not size:
                    return bytes(body), True
        await _read(reader, int(fields.get("content-length", "0")), body, pause)
    except (asyncio.IncompleteReadError, OSError):
        return bytes(body), False
    return bytes(body), True


async def _read(reader: asyncio.StreamReader, count: int, body: bytearray, pause: float) -> None:
    while count:
        if pause:
            await asyncio.sleep(pause)
        piece = await reader.read(min(count, 64 * 1024))
        if not piece:
            raise asyncio.IncompleteReadError(b"", count)
        body += piece
        count -= len(piece)


async def read_answer(
    reader: asyncio.StreamReader, method: str, pause: float = 0.0
) -> Message | None:
    """The next final answer; None at a clean end before it."""
    while True:
        head = await read_head(reader)
        if head is None:
            return None
        line, fields = head
        status = line.split(" ")[1]
        if status == "101" or not status.startswith("1"):
            break
    if method == "HEAD" or status in ("101", "204", "304"):
        return Message(line, fields, b"", True)
    if "transfer-encoding" not in fields and "content-length" not in fields:
        raise BrokenError("an answer without a length")
    body, whole = await read_body(reader, fields, pause)
    return Message(line, fields, body, whole)
