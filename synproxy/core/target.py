"""The request-target: what is refused, how it is split, and how nginx reads its path.

The bytes that are forwarded are never made here: the raw target goes out unchanged (design.md,
promise 5). This module must not know routes or allowlists.
"""

from __future__ import annotations

import re

from synproxy.core.memo import Memo
from synproxy.errors import DownstreamError

MEMO_ENTRIES = 2048
MEMO_PATH_LIMIT = 512  # bytes; longer paths are computed every time

# RFC 9112 section 3.2.1: origin-form. "#" is a fragment, which no client may send (nginx cuts it
# off); bytes from 0x80 make Synapse's path.decode("ascii") raise (nginx forwards them).
_ORIGIN_FORM = re.compile(rb"/[!\"$-~]*")
_REFUSED = re.compile(rb"[^!\"$-~]")

# "%00" is left out on purpose: nginx refuses it.
_DECODED = {
    high + low: bytes((int(high + low, 16),))
    for high in (b"%c" % c for c in b"0123456789abcdefABCDEF")
    for low in (b"%c" % c for c in b"0123456789abcdefABCDEF")
    if high + low != b"00"
}


def check_target(target: bytes) -> None:
    """Raise DownstreamError(400) unless the target is in origin-form with visible ASCII only."""
    if _ORIGIN_FORM.fullmatch(target) is not None:
        return
    if not target.startswith(b"/"):
        raise DownstreamError(400, "the request-target does not start with a slash")
    refused = _REFUSED.search(target)
    assert refused is not None
    offset = refused.start()
    if target[offset] == 0x23:
        raise DownstreamError(400, f"fragment in the request-target at offset {offset}")
    raise DownstreamError(
        400, f"byte 0x{target[offset]:02x} in the request-target at offset {offset}"
    )


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Raw path and raw query (without ``?``) of an origin-form target."""
    path, _, query = target.partition(b"?")
    return path, query


def decode_once(raw_path: bytes) -> bytes:
    """The path with its escapes decoded, slashes and dots as they are.

    Raises DownstreamError(400) for ``%00`` and for a ``%`` without two hexadecimal digits.
    """
    first, *rest = raw_path.split(b"%")
    if not rest:
        return raw_path
    decoded = _DECODED
    parts = [first]
    try:
        for part in rest:
            parts.append(decoded[part[:2]])
            parts.append(part[2:])
    except KeyError:
        if part[:2] == b"00":
            raise DownstreamError(400, "escaped NUL in the path") from None
        raise DownstreamError(400, "escape without two hexadecimal digits in the path") from None
    return b"".join(parts)


def _resolve(decoded: bytes) -> bytes:
    """Merge slashes and resolve dot segments (RFC 3986 section 5.2.4, but strict at the root)."""
    kept: list[bytes] = []
    segment = b""
    for segment in decoded.split(b"/"):
        if segment == b"..":
            if not kept:
                raise DownstreamError(400, "the path leaves the root")
            kept.pop()
        elif segment not in (b"", b"."):
            kept.append(segment)
    if kept and segment in (b"", b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


def is_clean(raw_path: bytes) -> bool:
    """No escape, no double slash, no segment that starts with a dot: every view is the same."""
    return b"%" not in raw_path and b"/." not in raw_path and b"//" not in raw_path


_normalised: Memo[bytes, bytes] = Memo(MEMO_ENTRIES)


def normalise_path(raw_path: bytes) -> bytes:
    """The path that ``location`` and ``$uri`` see in nginx with ``merge_slashes on``.

    Escapes are decoded once; after that ``//`` is merged and ``.``, ``..`` are resolved, so all of
    these may have been escaped. A decoded ``%``, ``?`` or ``#`` is an ordinary byte. ``raw_path``
    starts with ``/``. Raises DownstreamError(400) as decode_once does and when ``..`` leaves the
    root. Source: ngx_http_parse_complex_uri of nginx 1.22.1, and a differential test.
    """
    if b"%" not in raw_path and b"/." not in raw_path and b"//" not in raw_path:
        return raw_path
    found = _normalised.get(raw_path) or _normalised.recall(raw_path)
    if found is None:
        found = decode_once(raw_path)
        if b"//" in found or b"/." in found:
            found = _resolve(found)
        if len(raw_path) <= MEMO_PATH_LIMIT:
            _normalised.store(raw_path, found)
    return found


def views(raw_path: bytes) -> tuple[bytes, ...]:
    """The different ways in which a server may read the path, nginx's own first.

    normalised (nginx), decoded only (Twisted unquotes each segment), decoded with slashes merged
    and dots kept, and raw (Synapse's servlets). Equal views are given once. Raises like
    normalise_path.
    """
    normalised = normalise_path(raw_path)
    if is_clean(raw_path):
        return (normalised,)
    decoded = decode_once(raw_path)
    merged = re.sub(rb"/{2,}", b"/", decoded)
    return tuple(dict.fromkeys((normalised, decoded, merged, raw_path)))
