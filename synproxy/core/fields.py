"""What the proxy knows about HTTP field names; the only place where such lists live."""

from __future__ import annotations

from typing import Final

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields that end at this hop (RFC 9110 section 7.6.1; ``HTTP2-Settings`` RFC 7540 3.2.1)."""

NEVER_STRIPPED: Final = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"cookie",
        b"host",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
    }
)
"""End-to-end fields that a client cannot remove by naming them in ``Connection``
(the hole of CVE-2024-45410)."""


def tokens(value: bytes) -> list[bytes]:
    """The lower-case members of a comma-separated list (RFC 9110 section 5.6.1)."""
    return [token for part in value.lower().split(b",") if (token := part.strip(b" \t"))]
