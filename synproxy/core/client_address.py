"""Who the client is when requests come through other proxies: the walk over what those say.

As nginx's realip module: from the right, the newest entry first, as long as whoever says so is
trusted. What a client wrote itself stands left of what the first trusted proxy wrote, and is never
reached. Must not know connections.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from synproxy.config.model import AccessRule, Allowlist
from synproxy.core.allowlist import Access

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from synproxy.config.model import TrustedProxies
    from synproxy.core.head import HeaderBlock

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE: Final = rb'(?:%b|"(?:[^"\\]|\\.)*")' % _TOKEN
_PAIR: Final = re.compile(rb"[ \t]*(%b)=(%b)[ \t]*(?:;|\Z)" % (_TOKEN, _VALUE))
_ELEMENT: Final = re.compile(
    rb"[ \t]*%b=%b(?:[ \t]*;[ \t]*%b=%b)*[ \t]*" % (_TOKEN, _VALUE, _TOKEN, _VALUE)
)
_LIST: Final = re.compile(rb"[^ \t,]+")
_QUOTED_PAIR: Final = re.compile(rb"\\(.)")
_COMMAS: Final = 16
"""How many commas an element of ``Forwarded`` may have in its quoted strings."""


class Origin(NamedTuple):
    """Where a request comes from."""

    address: bytes
    port: bytes
    """Empty where nobody says."""
    scheme: bytes
    """``http`` or ``https``, if trusted proxies say; otherwise empty."""


class _Hop(NamedTuple):
    """What one proxy says of whom it had the request from."""

    address: bytes
    scheme: bytes = b""


def networks(texts: Iterable[str]) -> Access:
    """Permits the addresses of these networks, ``unix:`` among them."""
    rules = tuple(AccessRule(allow=text) for text in texts)
    return Access([("trusted", Allowlist(rules=(*rules, AccessRule(deny="all"))))], "all")


class ClientAddresses:
    """``http.trusted_proxies``, compiled."""

    __slots__ = ("_forwarded", "_name", "_proto", "_recursive", "_trusted")

    def __init__(self, settings: TrustedProxies) -> None:
        self._trusted = networks(settings.networks)
        self._name = settings.header.lower().encode()
        self._forwarded = self._name == b"forwarded"
        self._recursive = settings.recursive
        self._proto = settings.proto

    def trusts(self, address: bytes) -> bool:
        """Whether what a proxy at this address says is believed."""
        return self._trusted.permits(address)

    def origin(self, address: bytes, port: bytes, block: HeaderBlock) -> Origin:
        """Of a request with these fields, on a connection from this address and port."""
        scheme = b""
        walked = 0
        if not self.trusts(address):
            return Origin(address, port, scheme)
        for hop in self._hops(block):
            found = parse_address(hop.address)
            if found is None:
                break
            address, port = found
            scheme = hop.scheme
            walked += 1
            if not (self._recursive and self.trusts(address)):
                break
        if not self._proto:
            scheme = b""
        elif not self._forwarded:
            scheme = _nth_scheme(block.values(b"x-forwarded-proto"), walked)
        return Origin(address, port, scheme)

    def _hops(self, block: HeaderBlock) -> Iterator[_Hop]:
        """What the proxies say, the nearest first."""
        for line in reversed(block.values(self._name)):
            if self._forwarded:
                yield from _elements(line)
            else:
                yield from map(_Hop, reversed(_LIST.findall(line)))


def parse_address(text: bytes) -> tuple[bytes, bytes] | None:
    """Address and port of ``192.0.2.1``, ``192.0.2.1:80``, ``2001:db8::1`` or ``[2001:db8::1]:80``,
    the address as nginx writes it; None: it is none of these."""
    if len(text) > 64 or b"%" in text:
        return None
    written, port = text.decode("latin-1"), ""
    if written.startswith("["):
        written, bracket, port = written[1:].partition("]")
        if not bracket or (port and not port.startswith(":")) or ":" not in written:
            return None
        port = port[1:]
    elif written.count(":") == 1:
        written, _, port = written.partition(":")
        if not port:
            return None
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return None
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) <= 0xFFFF):
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    known = str(address) if mapped is None else f"::ffff:{mapped}"
    return known.encode(), port.encode()


def _elements(line: bytes) -> Iterator[_Hop]:
    """The elements of a ``Forwarded`` line (RFC 7239 section 4), the last first.

    Read from the right, for what a client wrote on the left need not be well-formed, and must not
    hide what a proxy has put behind it.
    """
    end = len(line)
    while end >= 0:
        comma = end
        for _ in range(_COMMAS):
            comma = line.rfind(b",", 0, comma)
            if _ELEMENT.fullmatch(line, comma + 1, end):
                break
            if comma < 0:
                return
        else:
            return
        yield _hop(line[comma + 1 : end])
        end = comma


def _hop(element: bytes) -> _Hop:
    address = scheme = b""
    for name, value in _PAIR.findall(element):
        if value.startswith(b'"'):
            value = _QUOTED_PAIR.sub(rb"\1", value[1:-1])
        lower = name.lower()
        if lower == b"for":
            address = value
        elif lower == b"proto":
            scheme = _scheme(value)
    return _Hop(address, scheme)


def _nth_scheme(lines: Sequence[bytes], walked: int) -> bytes:
    """Of a list, the entry that the proxy wrote which wrote the address."""
    found = [one for line in lines for one in _LIST.findall(line)]
    return _scheme(found[max(len(found) - max(walked, 1), 0)]) if found else b""


def _scheme(text: bytes) -> bytes:
    lower = text.lower()
    return lower if lower in (b"http", b"https") else b""
