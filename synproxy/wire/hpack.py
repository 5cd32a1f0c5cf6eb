"""HPACK (RFC 7541) as this proxy uses it: hpack's decoder, and an encoder that keeps no table.

Answers are encoded without a dynamic table, as nginx does: what a block says then depends on no
other block, so that the lines of an answer that comes again are packed once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.table import HeaderTable

from synproxy.wire.http2 import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, Http2Error

_HUFFMAN: Final = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
_NAMES: Final[dict[bytes, int]] = {}
_STATUS: Final[dict[int, bytes]] = {}
for _index, (_name, _value) in enumerate(HeaderTable.STATIC_TABLE, 1):
    _NAMES.setdefault(_name, _index)
    if _name == b":status":
        _STATUS[int(_value)] = bytes([0x80 | _index])

NO_TABLE: Final = b"\x20"
"""For the first block of a connection: our dynamic table has a size of 0, which is within
whatever the client has allowed (RFC 7541 section 4.2)."""


_REMEMBERED: Final = 2048
"""Bytes of lines that are remembered packed."""


class FieldDecoder:
    """The fields of one connection's header blocks. ``limit``: bytes of one list of fields, each
    counted with 32 more (RFC 9113 section 10.5.1)."""

    __slots__ = ("_decoder",)

    def __init__(self, limit: int) -> None:
        self._decoder = Decoder(max_header_list_size=limit)

    def decode(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """Names and values in order.

        :raises Http2Error: the block cannot be read, so that no other one can (RFC 9113 4.3), or
            says more than the limit.
        """
        try:
            return [(name, value) for name, value in self._decoder.decode(block, raw=True)]
        except OversizedHeaderListError as error:
            raise Http2Error(ENHANCE_YOUR_CALM, str(error)) from None
        except (HPACKError, IndexError, ValueError) as error:
            raise Http2Error(COMPRESSION_ERROR, f"HPACK: {error}") from None


def _integer(value: int, bits: int, flags: int) -> bytes:
    """RFC 7541 section 5.1."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([flags | value])
    out = bytearray([flags | limit])
    value -= limit
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _string(text: bytes) -> bytes:
    """RFC 7541 section 5.2: the shorter of both forms."""
    packed = _HUFFMAN.encode(text)
    if len(packed) < len(text):
        return _integer(len(packed), 7, 0x80) + packed
    return _integer(len(text), 7, 0) + text


def field(name: bytes, value: bytes) -> bytes:
    """One field without indexing (RFC 7541 section 6.2.2); ``name`` in lower case."""
    index = _NAMES.get(name)
    start = b"\x00" + _string(name) if index is None else _integer(index, 4, 0)
    return start + _string(value)


@lru_cache(maxsize=1024)
def status(code: int) -> bytes:
    """``:status``."""
    return _STATUS.get(code) or field(b":status", b"%d" % code)


def lines(text: bytes) -> bytes:
    """Field lines of HTTP/1.1 (each with its CRLF), packed, without a status line before them.

    Remembered: answers have the same lines again and again, but for their date and length. Long
    ones are not, nor those with cookies.
    """
    if len(text) > _REMEMBERED or b"ookie" in text:
        return _pack(text)
    return _packed(text)


def _pack(text: bytes) -> bytes:
    out = []
    if text.startswith(b"HTTP/1.1 "):
        text = text.partition(b"\r\n")[2]
    for line in text.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            out.append(field(name.lower(), value.strip(b" \t")))
    return b"".join(out)


_packed: Final = lru_cache(maxsize=512)(_pack)


@lru_cache(maxsize=2)
def date(line: bytes) -> bytes:
    """The line of ``Date``, which is another one every second."""
    return _pack(line)


_CONTENT_LENGTH: Final = _integer(_NAMES[b"content-length"], 4, 0)


def content_length(length: int) -> bytes:
    """``content-length``."""
    digits = b"%d" % length
    return b"%b%c%b" % (_CONTENT_LENGTH, len(digits), digits)
