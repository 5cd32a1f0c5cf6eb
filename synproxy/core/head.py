"""Request heads: what is accepted, and what the rest of the proxy wants to know of them.

The request line changes with every request, the header block hardly ever on one connection.
They are therefore judged apart: :func:`parse_request_line` sees the first line,
:class:`HeaderBlock` the fields, and a block that comes again byte for byte need not be judged
again. Knows nothing of sockets, and takes the fields already split (``wire.http1``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from synproxy.core.fields import HOP_BY_HOP, NEVER_STRIPPED, tokens
from synproxy.core.memo import Memo
from synproxy.core.target import check_target
from synproxy.errors import DownstreamError

_METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
_COMMON_LINE: Final = (
    rb"(GET|PUT|POST|HEAD|OPTIONS|DELETE) (/[!\"$-~]*) HTTP/1\.1"  # as core.target.check_target
)
_COMMON: Final = re.compile(_COMMON_LINE)
_COMMON_START: Final = re.compile(_COMMON_LINE + rb"\r\n")
_new_tuple: Final = tuple.__new__
_VERSION: Final = re.compile(rb"HTTP/([0-9])\.([0-9])")
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
_CONTENT_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_LENGTH: Final = re.compile(rb"(?:0|[1-9][0-9]{0,17})(?![0-9])")
_LENGTH_LINE: Final = re.compile(rb"(?:^|\n)content-length:[ \t]*(?=[0-9])", re.IGNORECASE)
_HOST: Final = re.compile(
    rb"(?!.*\.\.)"  # as nginx: no empty label
    rb"(?:(?P<name>[A-Za-z0-9._~!$&'()*+,;=%\-]+)|(?P<literal>\[[0-9A-Fa-f:.]+\]))(?::[0-9]*)?"
)


class RequestLine(NamedTuple):
    """The start line of a request (RFC 9112 section 3)."""

    method: bytes
    target: bytes
    """Origin-form (``/path?query``) or ``*``; the bytes that are forwarded."""
    authority: bytes
    """From an absolute-form target, otherwise empty."""
    minor: int
    """0 or 1: the minor version of HTTP/1."""

    def authority_host(self) -> bytes:
        """nginx's ``$host`` of an absolute-form target, which goes before the Host field
        (RFC 9112 section 3.2.2)."""
        return host_name(self.authority)


def common_request_line(data: bytes, end: int) -> RequestLine | None:
    """What :func:`parse_request_line` gives if ``data`` up to ``end`` is the usual kind of request
    line with its CRLF; None says nothing."""
    common = _COMMON_START.fullmatch(data, 0, end)
    if common is None:
        return None
    method, target = common.groups()
    return _new_tuple(RequestLine, (method, target, b"", 1))


def parse_request_line(line: bytes) -> RequestLine:
    """Judge one request line, without its CRLF.

    :raises DownstreamError: 400, or 405 (CONNECT, TRACE), or 505 (not HTTP/1).
    """
    common = _COMMON.fullmatch(line)
    if common is not None:
        method, target = common.groups()
        return _new_tuple(RequestLine, (method, target, b"", 1))
    parts = line.split(b" ")
    if len(parts) != 3:
        raise DownstreamError(400, "request line is not METHOD TARGET VERSION")
    method, target, version = parts
    if version == b"HTTP/1.1":
        minor = 1
    elif version == b"HTTP/1.0":
        minor = 0
    else:
        match = _VERSION.fullmatch(version)
        if match is None:
            raise DownstreamError(400, "invalid HTTP version")
        if match[1] != b"1":
            raise DownstreamError(505, "HTTP version other than 1")
        minor = 1  # RFC 9110 section 2.5: a higher minor version is answered as the highest known
    if _METHOD.fullmatch(method) is None:
        raise DownstreamError(400, "invalid method")
    if method == b"CONNECT" or method == b"TRACE":
        raise DownstreamError(405, "method CONNECT or TRACE")
    authority = b""
    if target[:1] != b"/":
        if target == b"*" and method == b"OPTIONS":
            return RequestLine(method, target, b"", minor)
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None:
            raise DownstreamError(400, "request target is neither origin-form nor absolute-form")
        authority, target = absolute[1], absolute[2]
        if _HOST.fullmatch(authority) is None:
            raise DownstreamError(400, "invalid authority in the request target")
        if target[:1] != b"/":
            target = b"/" + target
    check_target(target)
    return RequestLine(method, target, authority, minor)


def host_name(authority: bytes) -> bytes:
    """nginx's ``$host``: lower case, without the port and a trailing dot."""
    match = _HOST.fullmatch(authority)
    if match is None:
        raise DownstreamError(400, "invalid Host")
    name = (match["name"] or match["literal"]).lower()
    return name[:-1] if name.endswith(b".") else name


class HeaderBlock:
    """The header fields of one request, judged; a pure function of the bytes and the bounds.

    What depends on the request line too (framing in HTTP/1.0, a missing Host) is asked through
    :meth:`check_version`.

    :raises DownstreamError: 400, 417, 431 or 501.
    """

    __slots__ = (
        "_fields",
        "_names",
        "_stripped",
        "chunked",
        "connection_close",
        "connection_keep_alive",
        "content_length",
        "end",
        "expect_continue",
        "host",
        "made",
        "origin",
        "own",
        "raw",
        "tail",
        "upgrade",
    )

    def __init__(self, fields: Sequence[tuple[bytes, bytes]], max_count: int) -> None:
        if len(fields) > max_count:
            raise DownstreamError(431, f"{len(fields)} header fields, at most {max_count}")
        self.host = b""
        self.content_length: int | None = None
        self.chunked = False
        self.connection_close = False
        self.connection_keep_alive = False
        self.expect_continue = False
        self.upgrade = b""
        self.made: object = None
        """Room for the exchange to remember what it made of the fields."""
        self.origin: object = None
        """Room to remember whose request proxies before us say that it is."""
        self.raw = b""
        """The bytes, if they are to be known again, up to the digits of ``Content-Length`` or the
        credentials, if there are any;"""
        self.own = b""
        """the credentials;"""
        self.end = b""
        """and the bytes behind them."""
        self.tail: bytes | None = None
        """The bytes behind those digits; None: there are none."""
        self._stripped: frozenset[bytes] = _NO_NAMES
        first: dict[bytes, bytes] = {}
        connection: list[bytes] = []
        kept: list[_Field] = []
        for field in fields:
            if b"_" in field[0]:
                continue  # nginx underscores_in_headers off: X_Forwarded_For is not a header
            shared = _shared(field)
            kept.append(shared)
            lower = shared[0]
            if lower in first:
                if lower in _SINGLETONS:
                    raise DownstreamError(400, f"repeated {lower.decode()}")
            else:
                first[lower] = field[1]
            if lower == b"connection":
                connection += tokens(field[1])
        # Not a dictionary: thousands of waiting requests keep one of these each.
        self._fields = tuple(kept)
        names = tuple([field[0] for field in kept])
        self._names = _NAMES.recall(names) or _remembered(names)
        if connection:
            self.connection_close = b"close" in connection
            self.connection_keep_alive = b"keep-alive" in connection
            stripped = set(connection) - NEVER_STRIPPED - _NOT_FORWARDED
            if stripped:
                self._stripped = frozenset(stripped)
        self._judge_host(first.get(b"host"))
        self._judge_framing(first.get(b"transfer-encoding"), first.get(b"content-length"))
        self._judge_expect(first.get(b"expect"))
        self._judge_upgrade(first.get(b"upgrade"), connection)

    def remember(self, raw: bytes) -> None:
        """Keep the bytes of the block, so that it is known when it comes again.

        Bodies differ in their length, so the digits of ``Content-Length`` may be others the next
        time. Nothing else in a block depends on it, but whether an upgrade is honoured.
        """
        self.raw = raw
        if self.content_length is None:
            self._share(raw)
            return
        if b"upgrade" in self._names:
            return
        line = _LENGTH_LINE.search(raw)
        digits = _LENGTH.match(raw, line.end()) if line is not None else None
        if digits is not None:
            self.raw = raw[: digits.start()]
            self.tail = raw[digits.end() :]

    def _share(self, raw: bytes) -> None:
        """Of clients of one kind blocks differ in the credentials alone: keep one copy of what is
        before and behind these, which is most of it, for all."""
        names = self._names
        if b"authorization" not in names or not _OTHER_CREDENTIALS.isdisjoint(names):
            return
        own = self._fields[names.index(b"authorization")][2]
        before, _, after = raw.partition(own or raw)
        if after and own not in after:
            self.raw, self.own, self.end = _common(before), own, _common(after)

    def same(self, data: bytes, start: int) -> int:
        """Where the block ends if it has come again at ``start``, else -1. Its ``content_length``
        is then that of the new one.

        A block with an ``Upgrade`` or an odd length is the same only if its length is, too.
        """
        raw = self.raw + self.own + self.end
        if not data.startswith(raw, start):
            return -1
        end = start + len(raw)
        tail = self.tail
        if tail is None:
            return end
        digits = _LENGTH.match(data, end)
        if digits is None or not data.startswith(tail, digits.end()):
            return -1
        self.content_length = int(digits[0])
        return digits.end() + len(tail)

    @property
    def forwarded(self) -> list[tuple[bytes, bytes]]:
        """Lower-case name and line of each field that goes on to the server, in order."""
        stripped = self._stripped
        return [
            (lower, line or b"%b: %b\r\n" % (name, value))
            for lower, name, value, line in self._fields
            if lower not in _NOT_FORWARDED and lower not in stripped
        ]

    def value(self, name: bytes) -> bytes:
        """The first value of a field by its lower-case name, empty when absent.

        ``cookie``: all values, as one. ``upgrade``: only if it is honoured.
        """
        if name not in self._names:
            return b""
        if name == b"upgrade":
            return self.upgrade
        if name == b"content-length" and self.tail is not None:
            return str(self.content_length).encode()
        if name == b"cookie":
            return b"; ".join(self.values(name))
        return self._fields[self._names.index(name)][2]

    def values(self, name: bytes) -> list[bytes]:
        """All values of a field by its lower-case name, in order."""
        if name not in self._names:
            return []
        return [field[2] for field in self._fields if field[0] == name]

    def check_version(self, line: RequestLine) -> None:
        """Rules that tie the fields to the request line.

        :raises DownstreamError: 400.
        """
        if line.minor == 0:
            if self.chunked:  # RFC 9112 section 6.1: faulty framing
                raise DownstreamError(400, "Transfer-Encoding in HTTP/1.0")
        elif not self.host:  # RFC 9112 section 3.2
            raise DownstreamError(400, "missing Host")

    def _judge_host(self, host: bytes | None) -> None:
        if host is not None:
            known = _HOSTS.recall(host)
            if known is None:
                known = host_name(host)
                _HOSTS.store(host, known)
            self.host = known

    def _judge_framing(self, encoding: bytes | None, length: bytes | None) -> None:
        if encoding is not None:
            if length is not None:  # RFC 9112 section 6.3: an attempt at smuggling
                raise DownstreamError(400, "both Transfer-Encoding and Content-Length")
            if encoding.lower() != b"chunked":
                raise DownstreamError(501, "Transfer-Encoding other than chunked")
            self.chunked = True
        elif length is not None:
            if _CONTENT_LENGTH.fullmatch(length) is None:
                raise DownstreamError(400, "invalid Content-Length")
            self.content_length = int(length)

    def _judge_expect(self, expect: bytes | None) -> None:
        if expect is not None:
            if expect.lower() != b"100-continue":
                raise DownstreamError(417, "unknown expectation")
            self.expect_continue = True

    def _judge_upgrade(self, upgrade: bytes | None, connection: list[bytes]) -> None:
        """An upgrade is honoured when asked for properly (RFC 9110 section 7.8), without a body,
        and never to h2c: a tunnel of HTTP/2 frames would pass every route and allowlist by."""
        if (
            upgrade
            and b"upgrade" in connection
            and not self.chunked
            and not self.content_length
            and not any(token.startswith(b"h2c") for token in tokens(upgrade))
        ):
            self.upgrade = upgrade


_SINGLETONS: Final = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"authorization"}
)
"""A second one would let two readers take different ones."""

_NOT_FORWARDED: Final = HOP_BY_HOP | {b"content-length", b"expect"}
"""Hop-by-hop, or written anew: the framing is ours, and so is the 100 (Continue)."""


_Field = tuple[bytes, bytes, bytes, bytes]
"""Lower-case name, name, value, and the line to forward or nothing."""

_NO_NAMES: Final[frozenset[bytes]] = frozenset()
_HOSTS: Final[Memo[bytes, bytes]] = Memo(64)
_SHARED: Final[Memo[tuple[bytes, bytes], _Field]] = Memo(2048)
_SHARED_LIMIT: Final = 256
_OTHER_CREDENTIALS: Final = frozenset({b"cookie", b"proxy-authorization"})
_PRIVATE: Final = _OTHER_CREDENTIALS | {b"authorization"}
_SPELLINGS: Final = {
    name: (name.lower(), name)
    for name in (b"Authorization", b"authorization", b"Cookie", b"cookie", b"Content-Length")
}
"""One copy of the names that come with values of their own each time."""


_NAMES: Final[Memo[tuple[bytes, ...], tuple[bytes, ...]]] = Memo(256)
_NAMES_LIMIT: Final = 2048


def _remembered(names: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Clients of one kind send the same fields in the same order: as :func:`_shared`."""
    if sum(map(len, names)) <= _NAMES_LIMIT:
        _NAMES.store(names, names)
    return names


_COMMON_TEXTS: Final[Memo[bytes, bytes]] = Memo(512)
_COMMON_LIMIT: Final = 1024


def _common(text: bytes) -> bytes:
    """One copy of a part of many header blocks."""
    known = _COMMON_TEXTS.recall(text)
    if known is None:
        if len(text) <= _COMMON_LIMIT:
            _COMMON_TEXTS.store(text, text)
        return text
    return known


def _shared(field: tuple[bytes, bytes]) -> _Field:
    """Thousands of clients send the same User-Agent and the like; with a held sync each, one copy
    for all of them instead of one each is a quarter of its memory. Credentials are never kept.
    """
    known = _SHARED.recall(field)
    if known is None:
        name, value = field
        lower, name = _SPELLINGS.get(name) or (name.lower(), name)
        if len(name) + len(value) > _SHARED_LIMIT or lower in _PRIVATE:
            return lower, name, value, b""
        known = (lower, name, value, b"%b: %b\r\n" % field)
        _SHARED.store(field, known)
    return known
