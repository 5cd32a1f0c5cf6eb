"""Durations and sizes as nginx writes them.

Source: https://nginx.org/en/docs/syntax.html, "Configuration file measurement units".
"""

from __future__ import annotations

import math
import re

MAX_DURATION = float(2**31 - 1)  # seconds; far beyond any use, and safe for every timer
MIN_INTERVAL = 0.1  # seconds; below that a timer would do little else
MAX_SIZE = 2**63 - 1  # bytes; nginx's off_t

DURATION_PATTERN = (
    r"(?=.)(?:([0-9]+)y *)?(?:([0-9]+)M *)?(?:([0-9]+)w *)?(?:([0-9]+)d *)?(?:([0-9]+)h *)?"
    r"(?:([0-9]+)m(?!s) *)?(?:([0-9]+)(?:s *|(?!.)))?(?:([0-9]+)ms)?"
)
SIZE_PATTERN = r"([0-9]+)([kKmMgG]?)"

_DURATION = re.compile(DURATION_PATTERN)
_SIZE = re.compile(SIZE_PATTERN)
_SECONDS = (31_536_000, 2_592_000, 604_800, 86_400, 3_600, 60, 1, 0.001)  # y M w d h m s ms
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_MAX_DIGITS = 18

_WANTED_DURATION = "expected a duration such as 2s, 500ms or 1h30m"
_WANTED_SIZE = "expected a size such as 16k, 50M or 1g"


def parse_duration(value: object) -> float:
    """Seconds from ``2s``, ``500ms``, ``1h 30m`` or a bare number of seconds.

    Units go from large to small, each at most once: y (365 days), M (30 days), w, d, h, m, s, ms.
    Raises ValueError.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = _seconds(value)
    elif isinstance(value, str) and (found := _DURATION.fullmatch(value)):
        numbers = found.groups()
        if any(digits and len(digits) > _MAX_DIGITS for digits in numbers):
            raise ValueError(f"{_WANTED_DURATION}, at most {MAX_DURATION:.0f}s")
        milliseconds = sum(
            int(digits) * round(factor * 1000)
            for digits, factor in zip(numbers, _SECONDS, strict=True)
            if digits
        )
        seconds = milliseconds / 1000
    else:
        raise ValueError(_WANTED_DURATION)
    if seconds < 0:
        raise ValueError(f"{_WANTED_DURATION}, not less than 0")
    if seconds > MAX_DURATION:
        raise ValueError(f"{_WANTED_DURATION}, at most {MAX_DURATION:.0f}s")
    return seconds


def parse_interval(value: object) -> float:
    """As :func:`parse_duration`, but not less than 100 ms. Raises ValueError."""
    seconds = parse_duration(value)
    if seconds < MIN_INTERVAL:
        raise ValueError(f"{_WANTED_DURATION}, not less than {MIN_INTERVAL * 1000:.0f}ms")
    return seconds


def _seconds(value: float) -> float:
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if math.isnan(seconds):
        raise ValueError(_WANTED_DURATION)
    return seconds


def parse_size(value: object) -> int:
    """Bytes from ``16k``, ``50M``, ``1g`` (powers of 1024) or a bare number. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (found := _SIZE.fullmatch(value)):
        if len(found[1]) > _MAX_DIGITS:
            raise ValueError(f"{_WANTED_SIZE}, at most {MAX_SIZE} bytes")
        size = int(found[1]) * _BYTES[found[2].lower()]
    else:
        raise ValueError(_WANTED_SIZE)
    if size < 0:
        raise ValueError(f"{_WANTED_SIZE}, not less than 0")
    if size > MAX_SIZE:
        raise ValueError(f"{_WANTED_SIZE}, at most {MAX_SIZE} bytes")
    return size
