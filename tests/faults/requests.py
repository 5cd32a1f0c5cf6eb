"""The requests that meet each fault: they differ in what may be sent again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """``body``: sent behind the head at once; ``announced``: what the head says of it."""

    name: str
    method: bytes
    body: bytes = b""
    announced: int = 0
    version: bytes = b"1.1"

    @property
    def head(self) -> bytes:
        length = b"" if self.method == b"GET" else b"Content-Length: %d\r\n" % self.announced
        return b"%b /x HTTP/%b\r\nHost: example.org\r\n%b\r\n" % (self.method, self.version, length)


def _with(name: str, method: bytes, body: bytes) -> Kind:
    return Kind(name, method, body, len(body))


GET: Final = Kind("GET", b"GET")
POST: Final = Kind("POST", b"POST")
POST_BODY: Final = _with("POST with a body", b"POST", b"body")
PUT: Final = Kind("PUT", b"PUT")
PUT_BODY: Final = _with("PUT with a body", b"PUT", b"body")
PUT_LARGE: Final = _with("PUT with 200 kB", b"PUT", bytes(range(250)) * 800)
"""More than is kept for a second attempt."""
PUT_HUGE: Final = _with("PUT with 4 MB", b"PUT", bytes(4_000_000))
"""More than sockets take."""
UPLOAD: Final = Kind("PUT, the body on its way", b"PUT", b"half", 200_000)
"""The client has announced more than it has sent."""

GET_1_0: Final = Kind("GET, HTTP/1.0", b"GET", version=b"1.0")
"""Whose answer may end with the connection only."""

KINDS: Final = (GET, POST, POST_BODY, PUT, PUT_BODY, PUT_LARGE)
