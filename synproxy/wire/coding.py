"""Content codings (RFC 9110 section 8.4.1) as streams: what goes in comes out at once.

gzip is made by Intel's ISA-L where its package is there (x86-64 and ARM64), by zlib elsewhere:
for the JSON of a sync ISA-L needs a fifth of zlib's time at level 2 and makes less of it
(docs/performance.md). zstd and brotli come from optional packages. This module must not know
heads, nor who accepts what.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from typing import Any, Final

Encoder = Callable[[list[bytes], bool], list[bytes]]
"""Takes the pieces of one read, and whether they are the last; gives all that there is to send
for them, which the client can decode without waiting for more."""

MakeEncoder = Callable[[], Encoder]

_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_ISAL_UP_TO: Final = 6
"""Levels of nginx that ISA-L stands in for; whoever asks for more wants zlib's best."""
_ISAL_LEVELS: Final = (1, 1, 2, 2, 3, 3, 3)
"""For levels 0 to 6: the one of ISA-L's that makes less than zlib's, in less time."""

_ZSTD_WINDOW: Final = 17
"""log2 of 128 KiB. At level 3 libzstd would take 2 MiB for each answer under way, and a sync gains
nothing; RFC 8878 section 3.1.1.1.2 asks decoders for 8 MiB."""
_BROTLI_WINDOW: Final = 17


def gzip(level: int) -> MakeEncoder:
    """nginx ``gzip``; ``level`` is ``gzip_comp_level``."""
    module, its_level = _gzip_module(level)
    compressobj = module.compressobj
    end, sync = zlib.Z_FINISH, zlib.Z_SYNC_FLUSH

    def make() -> Encoder:
        compressor = compressobj(its_level, zlib.DEFLATED, _GZIP_WINDOW)
        compress, flush = compressor.compress, compressor.flush

        def encode(pieces: list[bytes], done: bool) -> list[bytes]:
            out = [compress(piece) for piece in pieces]
            out.append(flush(end if done else sync))
            return [piece for piece in out if piece]

        return encode

    return make


def _gzip_module(level: int) -> tuple[Any, int]:
    if level <= _ISAL_UP_TO:
        try:
            return importlib.import_module("isal.isal_zlib"), _ISAL_LEVELS[level]
        except ImportError:
            pass
    return zlib, level


def zstd(level: int) -> MakeEncoder:
    """RFC 8878, with a window of 128 KiB.

    :raises ImportError: neither Python 3.14 nor the package backports.zstd.
    """
    try:
        module: Any = importlib.import_module("compression.zstd")
    except ImportError:
        module = importlib.import_module("backports.zstd")
    options = {
        module.CompressionParameter.compression_level: level,
        module.CompressionParameter.window_log: _ZSTD_WINDOW,
    }
    block, frame = module.ZstdCompressor.FLUSH_BLOCK, module.ZstdCompressor.FLUSH_FRAME

    def make() -> Encoder:
        compressor = module.ZstdCompressor(options=options)

        def encode(pieces: list[bytes], done: bool) -> list[bytes]:
            out = [compressor.compress(piece) for piece in pieces]
            out.append(compressor.flush(frame if done else block))
            return [piece for piece in out if piece]

        return encode

    return make


def brotli(level: int) -> MakeEncoder:
    """RFC 7932, with a window of 128 KiB; ``level`` is brotli's quality.

    :raises ImportError: the package brotli is missing.
    """
    module: Any = importlib.import_module("brotli")

    def make() -> Encoder:
        compressor = module.Compressor(quality=level, lgwin=_BROTLI_WINDOW)

        def encode(pieces: list[bytes], done: bool) -> list[bytes]:
            out = [compressor.process(piece) for piece in pieces]
            out.append(compressor.finish() if done else compressor.flush())
            return [piece for piece in out if piece]

        return encode

    return make
