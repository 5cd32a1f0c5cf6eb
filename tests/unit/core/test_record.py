"""What is kept of a request line that was refused."""

from __future__ import annotations

import pytest

from synproxy.core.record import refused_request_line


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (b"GET /a?b HTTP/1.1", (b"GET", b"/a?b", b"HTTP/1.1")),
        (b"GET /a HTTP/9.1", (b"GET", b"/a", b"HTTP/9.1")),
        (b"GET /a", (b"GET", b"/a", b"")),
        (b"OPTIONS * HTTP/1.1", (b"OPTIONS", b"*", b"HTTP/1.1")),
        (b"GET http://a/b HTTP/1.1", (b"GET", b"http://a/b", b"HTTP/1.1")),
        (b"GET /a b c HTTP/1.1", (b"GET", b"/a b c", b"HTTP/1.1")),
        (b"GET /a HTTP/1.1\nAuthorization: Bearer x", (b"GET", b"/a", b"HTTP/1.1")),
        (b"GET /a\rAuthorization: Bearer x", (b"GET", b"/a", b"")),
        (b"GET /a\nAuthorization: x HTTP/1.1", (b"GET", b"/a", b"")),
        (b"Authorization: Bearer x", (b"", b"", b"")),
        (b"Cookie: a=b HTTP/1.1", (b"", b"", b"")),
        (b"Bearer x", (b"", b"", b"")),
        (b"\x16\x03\x01\x02", (b"", b"", b"")),
        (b"", (b"", b"", b"")),
    ],
)
def test_only_what_looks_like_a_request_line_is_kept(
    line: bytes, kept: tuple[bytes, bytes, bytes]
) -> None:
    assert refused_request_line(line) == kept
