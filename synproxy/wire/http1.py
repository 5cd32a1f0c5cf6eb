"""HTTP/1.1 heads: bytes to facts, by llhttp (httptools), one complete head at a time.

llhttp is strict on bytes (bare LF, obs-fold, controls, name characters); what a head *means* is
judged in ``core.head`` and ``core.response``. Bodies never pass through here.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from synproxy.core.head import HeaderBlock
from synproxy.core.response import ALWAYS_HIDDEN, ResponseHead, judge_response
from synproxy.errors import DownstreamError, Failure, UpstreamError

_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([0-9]{3})(?: ([\t -~\x80-\xff]*))?")


class _Collector:
    """Receives httptools' callbacks for one head."""

    __slots__ = ("complete", "fields")

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        # llhttp leaves the white space behind a value, which is no part of it (RFC 9110 5.5).
        self.fields.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True


def has_bare_lf(data: bytes, start: int = 0) -> bool:
    """Whether a line that ends after ``start`` ends in LF without CR, which nothing here accepts
    (RFC 9112 section 2.2)."""
    return _BARE_LF.search(data, start) is not None


def parse_header_block(block: bytes, *, max_line: int, max_count: int) -> HeaderBlock:
    """Read the fields that follow a request line.

    ``block`` holds them with the empty line that ends them; ``max_line`` bounds one field line
    in bytes, ``max_count`` their number (nginx ``large_client_header_buffers``).

    :raises DownstreamError: 400, 417, 431 or 501.
    """
    collector = _Collector()
    # Any request line does: the real one has been judged by itself, so that a method unknown to
    # llhttp is no error.
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(b"GET / HTTP/1.1\r\n" + block)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        if any(
            n.lower() == b"transfer-encoding" and v.lower() != b"chunked"
            for n, v in collector.fields
        ):
            raise DownstreamError(501, "Transfer-Encoding other than chunked") from None
        raise DownstreamError(400, f"invalid header fields: {type(error).__name__}") from None
    if not collector.complete:
        raise DownstreamError(400, "invalid header fields")
    for name, value in collector.fields:
        if len(name) + len(value) + 4 > max_line:
            raise DownstreamError(431, f"a header field of more than {max_line} bytes")
    judged = HeaderBlock(collector.fields, max_count)
    judged.remember(block)
    return judged


def parse_response_head(
    head: bytes,
    *,
    head_request: bool,
    hidden: frozenset[bytes] = ALWAYS_HIDDEN,
    server_line: bytes = b"",
) -> ResponseHead:
    """Read a server's status line and fields, with the empty line that ends them; the other
    arguments are those of :func:`synproxy.core.response.judge_response`.

    :raises UpstreamError: INVALID.
    """
    status, reason, minor = parse_status_line(head[: head.find(b"\r\n")])
    return judge_response(
        status,
        reason,
        minor,
        _response_fields(head),
        head_request=head_request,
        hidden=hidden,
        server_line=server_line,
    )


def parse_status_line(line: bytes) -> tuple[int, bytes, int]:
    """Status, reason phrase and minor version of a status line without its CRLF.

    :raises UpstreamError: INVALID.
    """
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise UpstreamError(Failure.INVALID, "not an HTTP/1 status line")
    return int(match[2]), match[3] or b"", int(match[1])


def _response_fields(head: bytes) -> list[tuple[bytes, bytes]]:
    collector = _Collector()
    parser = httptools.HttpResponseParser(collector)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise UpstreamError(
            Failure.INVALID, f"invalid response head: {type(error).__name__}"
        ) from None
    if not collector.complete:
        raise UpstreamError(Failure.INVALID, "invalid response head")
    return collector.fields
