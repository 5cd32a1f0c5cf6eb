"""How a ``location`` is written, as nginx reads it. This module must not know how one is chosen."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from synproxy.config.pcre import translate

_LOCATION = re.compile(r"(=|\^~|~\*|~)?+\s*+(.+)", re.DOTALL)


class Kind(StrEnum):
    """The five kinds of location; the value is nginx's modifier."""

    EXACT = "="
    FINAL = "^~"  # a prefix that keeps regexes from being tried
    PREFIX = ""
    REGEX = "~"
    REGEX_NO_CASE = "~*"


@dataclass(frozen=True, slots=True)
class Location:
    """One parsed ``location``: ``text`` is the path or prefix, ``regex`` is set for regexes."""

    kind: Kind
    text: bytes
    regex: re.Pattern[bytes] | None = None


def parse_location(written: str) -> Location:
    """Parse ``/prefix``, ``= /exact``, ``^~ /prefix``, ``~ regex`` or ``~* regex``.

    As in nginx the space after the modifier may be left out. Raises ValueError.
    """
    parts = _LOCATION.fullmatch(written.strip())
    if parts is None:
        raise ValueError(f"location {written!r} says no path and no regex")
    kind, text = Kind(parts[1] or ""), parts[2]
    if kind in (Kind.REGEX, Kind.REGEX_NO_CASE):
        flags = re.IGNORECASE if kind is Kind.REGEX_NO_CASE else 0
        try:
            regex = re.compile(translate(text).encode(), flags)
        except (ValueError, OverflowError, RecursionError, re.error) as error:
            raise ValueError(f"location {written!r}: the regex cannot be read: {error}") from error
        return Location(kind, text.encode(), regex)
    if not text.startswith("/"):
        raise ValueError(f"location {written!r} does not start with a slash, so it never matches")
    return Location(kind, text.encode())
