"""What is known about one exchange once it has ended: the data path fills it, `observe` reads it.

Must not know how or where it is written. It has no field for a header that carries credentials;
`target` and `referer` are raw, so whoever writes them out masks the secrets in them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple


class Attempt(NamedTuple):
    """One try on one server. Times are seconds since the attempt began, negative if it did not
    come that far (nginx logs ``-`` for those); a reused connection has a connect time of 0."""

    server: str  # "unix:/run/a.sock" or "host:port"
    status: int = 0  # 0: no answer came
    connect_time: float = -1.0  # nginx $upstream_connect_time
    header_time: float = -1.0  # nginx $upstream_header_time
    response_time: float = -1.0  # nginx $upstream_response_time


@dataclass(slots=True)
class ExchangeRecord:
    """One request and what became of it. Absent bytes and names are empty, never None."""

    started: float = 0.0  # unix time of the request's first byte
    remote_addr: bytes = b""
    method: bytes = b""  # empty when the request line was not understood
    target: bytes = b""  # raw request-target, as received
    version: bytes = b""  # b"HTTP/1.1"
    status: int = 0
    bytes_sent: int = 0  # body only (nginx $body_bytes_sent)
    bytes_received: int = 0  # request body
    referer: bytes = b""
    user_agent: bytes = b""
    host: bytes = b""
    scheme: bytes = b""  # b"http" or b"https"
    request_id: bytes = b""
    route: str = ""
    pool: str = ""
    server: str = ""  # of the last attempt
    attempts: list[Attempt] = field(default_factory=list)
    duration: float = 0.0  # seconds, first byte of the request to last byte of the answer
    end_reason: str = "ok"
    """ok, local, client_gone, client_error, client_timeout, upstream_error, upstream_timeout."""


_LOOKS_LIKE_A_REQUEST = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ((?:/|https?://|\*)[^\r\n]*?)(?: (HTTP/[0-9.]{1,8}))?"
    rb"(?:[\r\n].*)?",
    re.DOTALL,
)


def refused_request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Method, target and version to record for a request line that was refused.

    Empty unless it looks like one, and nothing after a CR or LF inside of it: what a confused
    client sends there may be the header that holds its token. Blanks belong to the target, so
    that masking a parameter in it reaches as far as the client may have meant it to.
    """
    match = _LOOKS_LIKE_A_REQUEST.fullmatch(line)
    if match is None:
        return b"", b"", b""
    return match[1], match[2], match[3] or b""
