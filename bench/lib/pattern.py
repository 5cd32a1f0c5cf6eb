"""Content of any length that both ends can make and hash, in which no two blocks are equal."""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Iterator

BLOCK = 1 << 18


@functools.cache
def _noise() -> bytes:
    return random.Random(1).randbytes(BLOCK - 8)


def blocks(total: int) -> Iterator[bytes]:
    """``total`` bytes; each block starts with its number, so order and loss show in the hash."""
    noise = _noise()
    for number in range(-(-total // BLOCK)):
        left = total - number * BLOCK
        block = number.to_bytes(8, "big") + noise
        yield block if left >= BLOCK else block[:left]


@functools.cache
def sha256(total: int) -> str:
    """The hash of ``blocks(total)``."""
    digest = hashlib.sha256()
    for block in blocks(total):
        digest.update(block)
    return digest.hexdigest()
