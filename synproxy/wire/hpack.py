"""HPACK (RFC 7541) as this proxy uses it: a decoder that is fast on what comes again, and an
encoder that keeps no table.

hpack, the library, has Huffman's code and the static table, and is what tests compare with. Its own
decoder takes 130 us for the head of a sync, in which all but the path is one byte for each field.

Answers are encoded without a dynamic table, as nginx does: what a block says then depends on no
other block, so that the lines of an answer that comes again are packed once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import (
    HUFFMAN_COMPLETE,
    HUFFMAN_EMIT_SYMBOL,
    HUFFMAN_FAIL,
    HUFFMAN_TABLE,
)
from hpack.table import HeaderTable

from synproxy.core.memo import Memo
from synproxy.wire.http2 import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, Http2Error

_HUFFMAN: Final = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
_STATIC: Final[list[tuple[bytes, bytes]]] = [(b"", b""), *HeaderTable.STATIC_TABLE]
_STATICS: Final = 61
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
_TABLE_SIZE: Final = 4096
"""Bytes of a client's dynamic table (SETTINGS_HEADER_TABLE_SIZE, which we leave as it is)."""
_ENTRY: Final = 32
"""Bytes that a field counts more than it has (RFC 7541 section 4.1)."""
_FEW: Final = 32
"""Fields that cannot be a bomb: a table of 4096 bytes has nothing that is longer."""
_INTEGER_BYTES: Final = 4
_RUN: Final = re.compile(rb"[\x81-\xfe]+")
"""Fields that are an index of one byte each: of a head that comes again, all but the path."""
_RUN_BYTES: Final = 64
_RUNS: Final = 16
_HUFFMAN_NAMES: Final[Memo[bytes, bytes]] = Memo(512)


class FieldDecoder:
    """The fields of one connection's header blocks. ``limit``: bytes of one list of fields, each
    counted with 32 more (RFC 9113 section 10.5.1); a little more passes while it is a few fields.
    """

    __slots__ = ("_bound", "_limit", "_runs", "_size", "_table")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._table: list[tuple[bytes, bytes]] = []
        """The newest field, whose index is 62, is the last."""
        self._size = 0
        self._bound = _TABLE_SIZE
        self._runs: dict[bytes, list[tuple[bytes, bytes]]] = {}
        """What rows of indexes have said, for the tables as they are."""

    def decode(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """Names and values in order. A field that comes again from a table is the same object.

        :raises Http2Error: the block cannot be read, so that no other one can (RFC 9113 4.3), or
            says more than the limit.
        """
        fields: list[tuple[bytes, bytes]] = []
        at = 0
        size = len(block)
        try:
            while at < size:
                first = block[at]
                if first & 0x80:
                    run = _RUN.match(block, at)
                    if run is None:
                        index, at = _long_integer(block, at + 1, 0x7F) if first == 0xFF else (0, 0)
                        fields.append(self._indexed(index))
                    else:
                        at = run.end()
                        fields += self._runs.get(run[0]) or self._read_run(run[0])
                    continue
                at += 1
                if first & 0x40:
                    field, at = self._literal(block, at, first & 0x3F, 0x3F)
                    self._enter(field)
                    fields.append(field)
                elif first & 0x20:
                    if fields:
                        raise _error("a table size that is told late")
                    at = self._resize(block, at, first & 0x1F)
                else:
                    field, at = self._literal(block, at, first & 0x0F, 0x0F)
                    fields.append(field)
        except IndexError:
            raise _error("the block ends within a field") from None
        if len(fields) > _FEW:
            total = len(fields) * _ENTRY
            for name, value in fields:
                total += len(name) + len(value)
            if total > self._limit:
                raise Http2Error(ENHANCE_YOUR_CALM, f"a header list of {total} bytes")
        return fields

    def _indexed(self, index: int) -> tuple[bytes, bytes]:
        """RFC 7541 section 6.1."""
        if 0 < index <= _STATICS:
            return _STATIC[index]
        if _STATICS < index <= _STATICS + len(self._table):
            return self._table[_STATICS - index]
        raise _error("an index beyond the tables")

    def _read_run(self, run: bytes) -> list[tuple[bytes, bytes]]:
        fields = [self._indexed(byte & 0x7F) for byte in run]
        if len(run) < _RUN_BYTES and len(self._runs) < _RUNS:
            self._runs[run] = fields
        return fields

    def _literal(
        self, block: bytes, at: int, index: int, mask: int
    ) -> tuple[tuple[bytes, bytes], int]:
        """A field whose value is spelled, and perhaps its name (RFC 7541 section 6.2)."""
        if index == mask:
            index, at = _long_integer(block, at, index)
        if index == 0:
            name, at = _string(block, at, name=True)
        elif index <= _STATICS:
            name = _STATIC[index][0]
        elif index <= _STATICS + len(self._table):
            name = self._table[_STATICS - index][0]
        else:
            raise _error("an index beyond the tables")
        value, at = _string(block, at, name=False)
        return (name, value), at

    def _enter(self, field: tuple[bytes, bytes]) -> None:
        self._runs.clear()
        self._table.append(field)
        self._size += len(field[0]) + len(field[1]) + _ENTRY
        if self._size > self._bound:
            self._evict()

    def _evict(self) -> None:
        table = self._table
        gone = 0
        while self._size > self._bound:
            name, value = table[gone]
            self._size -= len(name) + len(value) + _ENTRY
            gone += 1
        del table[:gone]

    def _resize(self, block: bytes, at: int, bound: int) -> int:
        """RFC 7541 section 6.3."""
        if bound == 0x1F:
            bound, at = _long_integer(block, at, bound)
        if bound > _TABLE_SIZE:
            raise _error("a table larger than allowed")
        self._bound = bound
        self._runs.clear()
        self._evict()
        return at


def _error(reason: str) -> Http2Error:
    return Http2Error(COMPRESSION_ERROR, f"HPACK: {reason}")


def _long_integer(block: bytes, at: int, value: int) -> tuple[int, int]:
    """The rest of an integer that its prefix has no room for (RFC 7541 section 5.1).

    :raises IndexError: the block ends before it.
    """
    for shift in range(0, 7 * _INTEGER_BYTES, 7):
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _error("an integer that is too long")


def _string(block: bytes, at: int, *, name: bool) -> tuple[bytes, int]:
    """RFC 7541 section 5.2. Names in Huffman's code are remembered, values may be secrets.

    :raises IndexError: the block ends before it.
    """
    first = block[at]
    at += 1
    length = first & 0x7F
    if length == 0x7F:
        length, at = _long_integer(block, at, length)
    end = at + length
    if end > len(block):
        raise _error("a string that is longer than the block")
    text = block[at:end]
    if first & 0x80:
        if name:
            known = _HUFFMAN_NAMES.recall(text)
            if known is None:
                known = _unpack(text)
                if length < 64:
                    _HUFFMAN_NAMES.store(text, known)
            return known, end
        return _unpack(text), end
    return text, end


_Step = tuple[int, bytes, bool]
"""The next state, what was spelled, and whether a string may end here."""
_ROWS: Final[list[list[_Step]]] = [[] for _ in range(len(HUFFMAN_TABLE) // 16)]
_FAILED: Final = len(_ROWS)
"""The state that no byte leads out of."""
_ROWS.append([(_FAILED, b"", False)] * 256)


def _row(state: int) -> list[_Step]:
    """What each byte means in a state, from the library's table, which goes by half bytes."""
    row = _ROWS[state]
    for byte in range(256):
        step, spelled, complete = state, b"", False
        for half in (byte >> 4, byte & 15):
            step, flags, symbol = HUFFMAN_TABLE[step * 16 + half]
            if flags & HUFFMAN_FAIL:
                step, complete = _FAILED, False
                break
            if flags & HUFFMAN_EMIT_SYMBOL:
                spelled += bytes([symbol])
            complete = bool(flags & HUFFMAN_COMPLETE)
        row.append((step, spelled, complete))
    return row


def _unpack(text: bytes) -> bytes:
    """What a string in Huffman's code says."""
    rows = _ROWS
    state, complete = 0, True
    spelled = []
    for byte in text:
        state, piece, complete = (rows[state] or _row(state))[byte]
        spelled.append(piece)
    if state == _FAILED:
        raise _error("a string that is not in Huffman's code")
    if not complete:
        raise _error("a string that ends within a symbol")
    return b"".join(spelled)


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


def _plain(text: bytes) -> bytes:
    """A string as it is (RFC 7541 section 5.2)."""
    return _integer(len(text), 7, 0) + text


def _shortest(text: bytes) -> bytes:
    """A string as it is, or in Huffman's code."""
    packed = _HUFFMAN.encode(text)
    if len(packed) < len(text):
        return _integer(len(packed), 7, 0x80) + packed
    return _plain(text)


def field(name: bytes, value: bytes, spell: Callable[[bytes], bytes] = _shortest) -> bytes:
    """One field without indexing (RFC 7541 section 6.2.2); ``name`` in lower case."""
    index = _NAMES.get(name)
    start = b"\x00" + spell(name) if index is None else _integer(index, 4, 0)
    return start + spell(value)


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


def _pack(text: bytes, spell: Callable[[bytes], bytes] = _shortest) -> bytes:
    out = []
    if text.startswith(b"HTTP/1.1 "):
        text = text.partition(b"\r\n")[2]
    for line in text.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            out.append(field(name.lower(), value.strip(b" \t"), spell))
    return b"".join(out)


_packed: Final = lru_cache(maxsize=512)(_pack)


@lru_cache(maxsize=2)
def date(line: bytes) -> bytes:
    """The line of ``Date``, and what stands beside it, such as an id. They will not come again, so
    Huffman's code would be dearer than the bytes that it saves."""
    return _pack(line, _plain)


_CONTENT_LENGTH: Final = _integer(_NAMES[b"content-length"], 4, 0)


def content_length(length: int) -> bytes:
    """``content-length``."""
    digits = b"%d" % length
    return b"%b%c%b" % (_CONTENT_LENGTH, len(digits), digits)
