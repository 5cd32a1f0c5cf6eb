"""The PROXY protocol, versions 1 and 2: who opened a connection that a balancer passes on.

Source: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt (the specification). Bytes to
facts and back; must not know whom to believe.
"""

from __future__ import annotations

import ipaddress
import re
from struct import Struct
from typing import Final, NamedTuple

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
"""The first 12 bytes of version 2."""
V1_LIMIT: Final = 107
"""Bytes of a line of version 1 with its CRLF (section 2.1)."""
LIMIT: Final = 4096
"""Bytes of a header of version 2. Its length field allows 64 KiB more; nginx has this bound."""

_V1: Final = re.compile(
    rb"PROXY (?:TCP4 (?P<four>[0-9.]{7,15}) (?P<four_to>[0-9.]{7,15})"
    rb"|TCP6 (?P<six>[0-9A-Fa-f:.]{2,39}) (?P<six_to>[0-9A-Fa-f:.]{2,39}))"
    rb" (?P<port>0|[1-9][0-9]{0,4}) (?P<port_to>0|[1-9][0-9]{0,4})"
)
_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: [ -~]*)?")
_FIXED: Final = Struct(">12sBBH")
_TLV: Final = Struct(">BH")
_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_UNIX: Final = 3
_ADDRESS_BYTES: Final = {0: 0, 1: 12, 2: 36, _UNIX: 216}
"""By address family: unspecified, IPv4, IPv6, UNIX."""
_CRC32C: Final = 0x03
"""PP2_TYPE_CRC32C."""


class ProxyProtocolError(ValueError):
    """The bytes are no header of this protocol."""


class Endpoints(NamedTuple):
    """Both ends of the connection that is passed on. The host of a UNIX socket is ``unix:``."""

    host: str
    port: int
    server_host: str
    server_port: int


class Header(NamedTuple):
    """A header that was read whole."""

    size: int
    """Bytes of it; what follows is the connection's own."""
    endpoints: Endpoints | None
    """None: the connection is the balancer's own (LOCAL), or of a kind that nothing is known of
    (UNKNOWN, UNSPEC), and has the addresses that the socket has."""


def read_header(data: bytes) -> Header | None:
    """The header at the beginning of ``data``; None: it is not complete yet.

    :raises ProxyProtocolError: there is none, or it is too long or broken.
    """
    start = data[:12]
    if SIGNATURE.startswith(start):
        return _read_v2(data) if len(data) >= _FIXED.size else None
    if b"PROXY ".startswith(start[:6]):
        return _read_v1(data)
    raise ProxyProtocolError("no PROXY protocol header")


# --- version 1, a line of text


def _read_v1(data: bytes) -> Header | None:
    end = data.find(b"\r\n", 0, V1_LIMIT)
    if end < 0:
        if len(data) >= V1_LIMIT:
            raise ProxyProtocolError(f"a line of more than {V1_LIMIT} bytes")
        return None
    line = data[:end]
    found = _V1.fullmatch(line)
    if found is None:
        if _UNKNOWN.fullmatch(line):
            return Header(end + 2, None)
        raise ProxyProtocolError(f"a broken line: {line!r}")
    host = (found["four"] or found["six"]).decode()
    server = (found["four_to"] or found["six_to"]).decode()
    port, server_port = int(found["port"]), int(found["port_to"])
    try:
        parse = ipaddress.IPv4Address if found["four"] else ipaddress.IPv6Address
        endpoints = Endpoints(_text(parse(host)), port, _text(parse(server)), server_port)
    except ValueError as error:
        raise ProxyProtocolError(str(error)) from None
    if max(port, server_port) > 0xFFFF:
        raise ProxyProtocolError(f"a port above 65535: {line!r}")
    return Header(end + 2, endpoints)


# --- version 2, binary


def _read_v2(data: bytes) -> Header | None:
    _, command, family, length = _FIXED.unpack_from(data)
    if command not in (_LOCAL, _PROXY):
        raise ProxyProtocolError(f"version and command 0x{command:02x}, known are 0x20 and 0x21")
    size = _FIXED.size + length
    if size > LIMIT:
        raise ProxyProtocolError(f"a header of {size} bytes, at most {LIMIT}")
    if len(data) < size:
        return None
    kind = family >> 4
    taken = _ADDRESS_BYTES.get(kind)
    if command == _LOCAL or taken is None or not taken or family & 15 != 1:
        # Section 2.2: the receiver must accept what it does not know, and use the socket's own.
        # That includes the TLVs of LOCAL, as nobody says where they would begin.
        return Header(size, None)
    if length < taken:
        raise ProxyProtocolError(f"{length} bytes of addresses, expected {taken}")
    _check_tlvs(data[:size], _FIXED.size + taken)
    return Header(size, _endpoints(kind, data[_FIXED.size : _FIXED.size + taken]))


def _endpoints(kind: int, block: bytes) -> Endpoints:
    if kind == _UNIX:
        return Endpoints("unix:", 0, "unix:", 0)
    width = 4 if kind == 1 else 16
    host, server = (ipaddress.ip_address(block[at : at + width]) for at in (0, width))
    ports = block[2 * width :]
    port, server_port = int.from_bytes(ports[:2], "big"), int.from_bytes(ports[2:], "big")
    return Endpoints(_text(host), port, _text(server), server_port)


def _check_tlvs(header: bytes, at: int) -> None:
    """Walk over the type-length-value triples, and check the one that is a checksum.

    :raises ProxyProtocolError: one does not end within the header, or the checksum is wrong.
    """
    while at < len(header):
        if len(header) - at < _TLV.size:
            raise ProxyProtocolError("a TLV that is cut off")
        kind, length = _TLV.unpack_from(header, at)
        at += _TLV.size
        if length > len(header) - at:
            raise ProxyProtocolError(f"a TLV of {length} bytes where {len(header) - at} are left")
        if kind == _CRC32C:
            if length != 4:
                raise ProxyProtocolError(f"a checksum of {length} bytes, expected 4")
            told = int.from_bytes(header[at : at + 4], "big")
            if crc32c(header[:at] + bytes(4) + header[at + 4 :]) != told:
                raise ProxyProtocolError("the checksum is wrong")
        at += length


def _table() -> list[int]:
    """Of the reflected Castagnoli polynomial."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC_TABLE: Final = _table()


def crc32c(data: bytes) -> int:
    """RFC 3720 appendix B.4. Once a connection at most, over some hundred bytes."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _CRC_TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


# --- writing version 2

LOCAL_HEADER: Final = _FIXED.pack(SIGNATURE, _LOCAL, 0, 0)
"""For connections of our own, such as health checks."""


def header_v2(endpoints: Endpoints) -> bytes:
    """The header for a connection that is passed on over TCP."""
    try:
        host = ipaddress.ip_address(endpoints.host)
        server = ipaddress.ip_address(endpoints.server_host)
    except ValueError:  # a UNIX socket: nothing that a server behind could use
        return _FIXED.pack(SIGNATURE, _PROXY, 0, 0)
    if host.version != server.version:
        host, server = _six(host), _six(server)
    block = host.packed + server.packed
    block += endpoints.port.to_bytes(2, "big") + endpoints.server_port.to_bytes(2, "big")
    family = 0x11 if host.version == 4 else 0x21
    return _FIXED.pack(SIGNATURE, _PROXY, family, len(block)) + block


def _six(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv6Address:
    if isinstance(address, ipaddress.IPv6Address):
        return address
    return ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)


def _text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(address) if mapped is None else f"::ffff:{mapped}"
