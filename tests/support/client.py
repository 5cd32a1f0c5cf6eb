"""A client that sends exactly the bytes it is given and reads answers strictly (RFC 9112).

Nothing is normalised or repaired: an answer that a careful client could misread is an error here.
"""

from __future__ import annotations

import re
import socket
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9]) ([^\r\n]*)")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*")
CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")
DEADLINE = 10.0


class BadAnswerError(Exception):
    """The proxy sent something that is not a well-formed HTTP/1.1 answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. ``framing``: none, length, chunked or close; ``complete``: the body ended."""

    status: int
    version: bytes
    reason: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    framing: str
    complete: bool

    def field(self, name: bytes) -> bytes:
        """The values of a field, joined with a comma; the name is compared without case."""
        found = [value for field, value in self.fields if field.lower() == name.lower()]
        return b", ".join(found)

    @property
    def closes(self) -> bool:
        """Whether the answer announces that the connection ends."""
        tokens = [token.strip().lower() for token in self.field(b"connection").split(b",")]
        if self.version == b"HTTP/1.0" and b"keep-alive" not in tokens:
            return True
        return b"close" in tokens

    @property
    def content(self) -> bytes:
        """The body without its content coding; raises BadAnswerError if it was cut inside."""
        if self.field(b"content-encoding") != b"gzip" or not self.body:
            return self.body
        inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
        content = inflate.decompress(self.body)
        if not inflate.eof or inflate.unused_data:
            raise BadAnswerError(f"gzip cut after {len(content)} bytes")
        return content


class Client:
    """One connection to a proxy: to a TCP port from any loopback address, or to a UNIX socket."""

    def __init__(
        self, at: int | Path, source: str = "127.0.0.1", timeout: float = DEADLINE
    ) -> None:
        self._buffer = bytearray()
        if isinstance(at, Path):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(timeout)
            self.socket.connect(str(at))
            return
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.bind((source, 0))
        self.socket.connect(("::1" if ":" in source else "127.0.0.1", at))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send all of it, or as much as the proxy takes before it closes."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def _more(self) -> bool:
        try:
            data = self.socket.recv(1 << 18)
        except ConnectionResetError:
            return False
        self._buffer += data
        return bool(data)

    def _take(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def read_exactly(self, count: int) -> bytes:
        """``count`` bytes, fewer only at the end of the connection."""
        while len(self._buffer) < count and self._more():
            pass
        return self._take(count)

    def read_until(self, mark: bytes) -> bytes | None:
        """Bytes up to and with ``mark``; None if the connection ends before."""
        start = 0
        while True:
            found = self._buffer.find(mark, start)
            if found >= 0:
                return self._take(found + len(mark))
            start = max(0, len(self._buffer) - len(mark) + 1)
            if not self._more():
                return None

    def read_to_end(self) -> bytes:
        """Everything until the proxy closes; raises TimeoutError if it does not."""
        while self._more():
            pass
        return self._take(len(self._buffer))

    def read_answer(self, method: bytes = b"GET") -> Answer | None:
        """The next answer to a request with ``method``; None at the end of the connection."""
        head = self.read_until(b"\r\n\r\n")
        if head is None:
            if self._buffer:
                raise BadAnswerError(f"cut inside the head: {bytes(self._buffer[:200])!r}")
            return None
        lines = head[:-4].split(b"\r\n")
        status_line = STATUS_LINE.fullmatch(lines[0])
        if status_line is None:
            raise BadAnswerError(f"status line {lines[0]!r}")
        fields = tuple(_field(line) for line in lines[1:])
        status = int(status_line[2])
        body, framing, complete = self._read_body(method, status, fields)
        version = b"HTTP/1." + status_line[1]
        return Answer(status, version, status_line[3], fields, body, framing, complete)

    def _read_body(
        self, method: bytes, status: int, fields: Sequence[tuple[bytes, bytes]]
    ) -> tuple[bytes, str, bool]:
        lengths = [value for name, value in fields if name.lower() == b"content-length"]
        codings = [value for name, value in fields if name.lower() == b"transfer-encoding"]
        if len(lengths) > 1 or (lengths and codings) or codings not in ([], [b"chunked"]):
            raise BadAnswerError(f"framing {lengths} {codings}")
        if method == b"HEAD" or status in (204, 304) or status < 200:
            return b"", "none", True
        if codings:
            return self._read_chunked()
        if lengths:
            body = self.read_exactly(int(lengths[0]))
            return body, "length", len(body) == int(lengths[0])
        return self.read_to_end(), "close", True

    def _read_chunked(self) -> tuple[bytes, str, bool]:
        body = bytearray()
        while True:
            line = self.read_until(b"\r\n")
            if line is None:
                return bytes(body), "chunked", False
            if not CHUNK_SIZE.fullmatch(line[:-2]):
                raise BadAnswerError(f"chunk size {line[:60]!r}")
            size = int(line, 16)
            chunk = self.read_exactly(size + 2)
            if len(chunk) < size + 2:
                return bytes(body + chunk[:size]), "chunked", False
            if chunk[size:] != b"\r\n":
                raise BadAnswerError(f"chunk without its line end, or trailers: {chunk[size:]!r}")
            body += chunk[:size]
            if size == 0:
                return bytes(body), "chunked", True


def _field(line: bytes) -> tuple[bytes, bytes]:
    field = FIELD.fullmatch(line)
    if field is None:
        raise BadAnswerError(f"field line {line!r}")
    return field[1], field[2]
