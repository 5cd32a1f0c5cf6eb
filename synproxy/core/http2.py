"""Requests of HTTP/2: which are well-formed, and what they are in HTTP/1.1 (RFC 9113 section 8).

What HTTP/1.1 says of a method, a target, a Host or a length is asked of ``core.head``, so that both
versions let the same requests through. Knows nothing of frames or streams.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from synproxy.core.fields import tokens
from synproxy.core.head import HeaderBlock, RequestLine, parse_request_line
from synproxy.errors import DownstreamError

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE: Final = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")
"""No controls, as in HTTP/1.1 here, and no white space around it."""
_PSEUDO: Final = frozenset({b":method", b":scheme", b":authority", b":path"})
_OF_CONNECTIONS: Final = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
"""RFC 9113 section 8.2.2."""
_SCHEMES: Final = (b"https", b"http")
_PATH: Final = re.compile(rb"/[!\"$-~]{0,4000}")
"""As ``core.target.check_target``, and shorter than a line may be where heads are remembered."""
_new_tuple: Final = tuple.__new__


class MalformedError(DownstreamError):
    """Not a request of HTTP/2 at all: its stream is reset (RFC 9113 section 8.1.1)."""

    def __init__(self, reason: str) -> None:
        super().__init__(400, reason)


class Fields:
    """The fields of one request, taken apart.

    :raises DownstreamError: 400 (malformed), 414 or 431.
    """

    __slots__ = ("authority", "line", "regular")

    def __init__(
        self,
        fields: Sequence[tuple[bytes, bytes]],
        *,
        max_line: int,
        max_count: int,
        max_size: int,
    ) -> None:
        pseudo: dict[bytes, bytes] = {}
        start = 0
        for name, value in fields:
            if name[:1] != b":":
                break
            start += 1
            if name not in _PSEUDO or name in pseudo:
                raise MalformedError("an unknown or repeated pseudo-header field")
            pseudo[name] = value
        self.regular = tuple(fields[start:])
        self.line = _request_line(pseudo, max_line)
        self.authority = pseudo.get(b":authority", b"")
        if len(self.regular) > max_count:
            raise DownstreamError(431, f"more than {max_count} header fields")
        size = 0
        for name, value in self.regular:
            length = len(name) + len(value) + 4
            size += length
            if length > max_line:
                raise DownstreamError(431, f"a header field of more than {max_line} bytes")
        if size > max_size:
            raise DownstreamError(431, f"a head of more than {max_size} bytes")


def usual_line(method: bytes, path: bytes) -> RequestLine | None:
    """The line of a request with a method that was accepted before, if its path is the usual kind;
    None says nothing."""
    if _PATH.fullmatch(path) is None:
        return None
    return _new_tuple(RequestLine, (method, path, b"", 1))


def _request_line(pseudo: dict[bytes, bytes], max_line: int) -> RequestLine:
    method = pseudo.get(b":method", b"")
    if method == b"CONNECT":
        raise DownstreamError(405, "method CONNECT or TRACE")
    path = pseudo.get(b":path", b"")
    if not method or not path or b":scheme" not in pseudo:
        raise MalformedError("a pseudo-header field is missing")
    if pseudo[b":scheme"].lower() not in _SCHEMES:
        raise MalformedError("a :scheme that is neither http nor https")
    if len(method) + len(path) + 10 > max_line:
        raise DownstreamError(414, f"a request line of more than {max_line} bytes")
    if path[:1] != b"/" and path != b"*":
        raise MalformedError("a :path that does not begin with a slash")
    return parse_request_line(b"%b %b HTTP/1.1" % (method, path))


def judge_fields(
    regular: Sequence[tuple[bytes, bytes]], authority: bytes, *, body: bool, max_count: int
) -> HeaderBlock:
    """The fields as HTTP/1.1 would have them: with a Host, one Cookie, and a body that is chunked
    if nothing says how long it is.

    ``body``: whether one follows.

    :raises DownstreamError: 400 (:class:`MalformedError` or not), 417 or 431.
    """
    made: list[tuple[bytes, bytes]] = []
    cookies: list[bytes] = []
    length: bytes | None = None
    host = authority
    for name, value in regular:
        if _NAME.fullmatch(name) is None:
            raise MalformedError("an invalid field name")
        if _VALUE.fullmatch(value) is None:
            raise MalformedError("an invalid field value")
        if name in _OF_CONNECTIONS:
            raise MalformedError(f"the field {name.decode()}, which is for HTTP/1.1")
        if name == b"te" and tokens(value) != [b"trailers"]:
            raise MalformedError("TE other than trailers")
        if name == b"host":
            if host and value.lower() != host.lower():
                raise MalformedError("Host and :authority differ")
            host = host or value
            continue
        if name == b"cookie":
            cookies.append(value)
            continue
        if name == b"content-length":
            length = value
        made.append((name, value))
    if not host:
        raise MalformedError("neither :authority nor Host")
    made.insert(0, (b"host", host))
    if cookies:  # RFC 9113 section 8.2.3
        made.append((b"cookie", b"; ".join(cookies)))
    if body and length is None:
        made.append((b"transfer-encoding", b"chunked"))
    block = HeaderBlock(made, max_count + 3)
    if not body and block.content_length:
        raise MalformedError("a Content-Length without a body")
    return block


def check_trailers(fields: Sequence[tuple[bytes, bytes]]) -> None:
    """Trailers are dropped, as in HTTP/1.1; these are malformed with a pseudo-header field
    (RFC 9113 section 8.1).

    :raises MalformedError: they are.
    """
    for name, value in fields:
        if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise MalformedError("an invalid trailer field")
