"""The listed differences (docs/nginx-differences.md) that the HTTP exchanges meet: where, and what
becomes of nginx's side there.
"""

from __future__ import annotations

from tests.differential.conversation import Seen
from tests.differential.exchange import BIG, Exchange
from tests.differential.http_changes import (
    HttpDifference,
    NginxSaw,
    bad_gateway,
    bad_names_forwarded,
    compressed,
    cut_after_a_chunk,
    each_answer,
    each_head,
    everywhere,
    forwarded_whole,
    gzip_with_length,
    kept_after_413,
    like,
    no_interim,
    not_replayed,
    options_answered,
    origin_date,
    refused,
    status_is,
    streamed,
    swallowed,
    uncompressed,
    with_reason,
    without_fields,
    without_lines,
)


def _requests(*names: str) -> tuple[str, ...]:
    return tuple(f"request: {name}" for name in names)


def _answers(*names: str) -> tuple[str, ...]:
    return tuple(f"answer: {name}" for name in names)


NOT_HTTP = (
    *(f"{m} with {n} bytes" for m in ("POST",) for n in (0, 5)),
    *(f"{m} with 0 bytes" for m in ("GET", "DELETE", "OPTIONS")),
    *(f"{m} with 5 bytes" for m in ("PUT", "PATCH", "LOCK", "BREW")),
)

HTTP_DIFFERENCES = (
    # Request lines
    HttpDifference(
        "method-case",
        _requests("lower-case method"),
        like("request: plain GET", (b"GET /", b"get /")),
    ),
    HttpDifference("method-length", _requests("method of 300 letters"), refused(400)),
    HttpDifference("connect-status", _requests("CONNECT"), refused(405)),
    HttpDifference("options-asterisk", _requests("OPTIONS of the server"), options_answered),
    HttpDifference("absolute-form-scheme", _requests("absolute form, other scheme"), refused(400)),
    HttpDifference("version-syntax", _requests("HTTP/1.01"), refused(400)),
    HttpDifference("http-0-9", _requests("no version", "HTTP/0.9"), refused(400)),
    HttpDifference("http-2-preface", _requests("HTTP/2 preface"), refused(505)),
    HttpDifference(
        "request-line-spaces",
        _requests(
            "two spaces before the target",
            "two spaces before the version",
            "space at the end of the line",
        ),
        refused(400),
    ),
    HttpDifference("raw-bytes-in-target", _requests("UTF-8 in the target"), refused(400)),
    HttpDifference("fragment-in-target", _requests("fragment"), refused(400)),
    HttpDifference("empty-lines-first", _requests("empty lines first"), refused(400)),
    HttpDifference(
        "bare-lf-in-request",
        _requests("bare line feeds", "chunk with a bare line feed"),
        refused(400),
    ),
    # Request fields
    HttpDifference(
        "host-always-sent",
        _requests("HTTP/1.0 without Host"),
        each_head(lambda head: head.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nHost: \r\n", 1)),
    ),
    HttpDifference(
        "host-syntax",
        _requests(
            "Host with a user",
            "Host as cut IPv6 address",
            "Host with a bad port",
            "Host with UTF-8",
            "Host with a query",
        ),
        refused(400),
    ),
    HttpDifference(
        "tabs-around-values",
        _requests("white space around values"),
        each_head(lambda head: head.replace(b"C: \t3\t\r\n", b"C: 3\r\n")),
    ),
    HttpDifference("token-field-names", _requests("bad names"), each_head(bad_names_forwarded)),
    HttpDifference(
        "bad-field-lines",
        _requests("name with a slash", "name with UTF-8", "line without a colon"),
        refused(400),
    ),
    HttpDifference(
        "controls-in-values", _requests("control in a value", "DEL in a value"), refused(400)
    ),
    HttpDifference(
        "hop-by-hop-request-fields",
        _requests("hop-by-hop fields", "Proxy fields", "named by Connection"),
        without_lines(b"Trailer", b"Proxy-Connection", b"X-Hop"),
    ),
    HttpDifference(
        "upgrade-needs-connection",
        _requests("an upgrade without Connection"),
        each_head(
            lambda head: head.replace(
                b"Connection: upgrade\r\nUpgrade: websocket\r\n", b"Connection: close\r\n"
            )
        ),
    ),
    HttpDifference(
        "no-h2c-upgrade",
        _requests("HTTP2-Settings"),
        each_head(
            lambda head: head.replace(
                b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Connection: close\r\n"
            ).replace(b"HTTP2-Settings: A\r\n", b"")
        ),
    ),
    HttpDifference("unknown-expectation", _requests("Expect something else"), refused(417)),
    HttpDifference(
        "no-needless-100",
        _requests("Expect without a body", "Expect with the body at once"),
        no_interim,
    ),
    HttpDifference(
        "head-too-large-status",
        _requests("a field over 32k", "a field over all buffers", "fields over 96k together"),
        status_is(431),
    ),
    HttpDifference("target-line-limit", _requests("target of 20k"), refused(414)),
    HttpDifference("field-line-limit", _requests("a longer field"), refused(431)),
    HttpDifference("head-limit", _requests("fields over 64k together"), refused(431)),
    HttpDifference("field-count", _requests("300 fields"), refused(431)),
    # Request bodies
    HttpDifference(
        "forbidden-trailers",
        _requests("chunked with a length behind it", "chunked with a Host behind it"),
        refused(400),
    ),
    HttpDifference(
        "chunked-request-streamed",
        _requests(
            "chunked",
            "chunked, empty",
            "chunked, upper case",
            "chunked with trailers",
            "chunked with leading zeroes",
            "chunked GET",
            "chunked at a limit",
        ),
        streamed,
    ),
    HttpDifference(
        "chunk-extension-limit", _requests("chunked with a long extension"), refused(400)
    ),
    HttpDifference("chunk-size-space", _requests("chunk size with a space"), refused(400)),
    HttpDifference("connection-kept-after-413", _requests("length over a limit"), kept_after_413),
    # Answers
    HttpDifference("origin-date", _answers("answer fields"), each_answer(origin_date)),
    HttpDifference(
        "no-length-on-204",
        _answers("204 with length 0", "204 with a body"),
        without_fields(b"content-length"),
    ),
    HttpDifference("reason-phrase", _answers("status line without a reason"), with_reason),
    HttpDifference(
        "status-range", _answers("status 600", "status 99", "status of four digits"), bad_gateway
    ),
    HttpDifference(
        "answer-framing",
        _answers(
            "chunked in HTTP/1.0",
            "length and chunked",
            "gzip, chunked",
            "two equal lengths",
            "two lengths",
            "length with a plus",
            "negative length",
        ),
        bad_gateway,
    ),
    HttpDifference("bad-chunk", _answers("bad chunk size"), cut_after_a_chunk),
    HttpDifference(
        "answer-not-http",
        (
            *_answers("not HTTP", "HTTX/1.1", "HTTP/2.0"),
            *(f"failure: not HTTP, {name}" for name in NOT_HTTP),
            *(f"failure: both not HTTP, {name}" for name in NOT_HTTP[:1] + NOT_HTTP[2:3]),
        ),
        bad_gateway,
    ),
    HttpDifference(
        "answer-field-syntax", _answers("a line without a colon", "control in a value"), bad_gateway
    ),
    HttpDifference("bare-lf-in-answer", _answers("bare line feeds"), bad_gateway),
    HttpDifference("interim-answers", _answers("103, then 200", "100, then 200"), swallowed),
    HttpDifference("unasked-101", _answers("101 not asked for"), bad_gateway),
    HttpDifference(
        "hop-by-hop-answer-fields",
        _answers("hop-by-hop answer fields"),
        without_fields(b"proxy-connection", b"te", b"trailer", b"upgrade", b"x-hop"),
    ),
    HttpDifference("x-accel-redirect", _answers("X-Accel-Redirect"), forwarded_whole),
    HttpDifference(
        "large-body-not-replayed",
        (f"failure: reset, PUT with {len(BIG)} bytes",),
        not_replayed,
    ),
    # Compression
    HttpDifference(
        "no-gzip-of-strong-etag",
        _answers("gzip with a strong ETag", "gzip with a bare ETag"),
        uncompressed,
    ),
    HttpDifference("no-transform", _answers("gzip with no-transform"), uncompressed),
    HttpDifference("gzip-for-head", _answers("gzip for HEAD"), uncompressed),
    HttpDifference("gzip-short-chunked", _answers("gzip for a chunked answer"), uncompressed),
    HttpDifference("gzip-accepted", _answers("gzip by asterisk", "x-gzip"), compressed),
    HttpDifference("gzip-type-spaces", _answers("gzip for text/css ; a=b"), compressed),
    HttpDifference(
        "gzip-with-length",
        _answers(
            "gzip",
            "gzip with q=0.001",
            "gzip with q=1.000",
            "gzip in upper case",
            "gzip second",
            "gzip and a range",
            "gzip with a weak ETag",
            "gzip with Vary",
            "gzip with Vary: Accept-Encoding",
            "gzip with Accept-Ranges",
            "gzip with Last-Modified",
            "gzip for POST",
            *(
                f"gzip for {kind}"
                for kind in (
                    "text/html",
                    "application/json; charset=utf-8",
                    "APPLICATION/JSON",
                    "text/plain",
                    "image/svg+xml",
                    "application/xml",
                )
            ),
            *(f"gzip for {size} bytes, 200 OK" for size in (1000, 1001)),
            *(f"gzip for 2000 bytes, {status}" for status in ("403 Forbidden", "404 Not Found")),
        ),
        gzip_with_length,
    ),
)


def expected(exchange: Exchange, seen: Seen, nginx: NginxSaw) -> Seen:
    """What synproxy's side must see of an exchange.

    :raises AssertionError: a listed difference changes nothing: it is no difference.
    """
    seen = everywhere(exchange, seen, nginx)
    for listed in HTTP_DIFFERENCES:
        if exchange.name in listed.names:
            changed = listed.change(exchange, seen, nginx)
            assert changed != seen, f"{listed.id} is none for {exchange.name}"
            seen = changed
    return seen
