"""What servers answer: framing, malformed heads, fields, compression."""

from __future__ import annotations

from tests.differential.exchange import (
    BIG,
    CHUNKED,
    CHUNKS,
    JSON,
    LENGTH,
    OK,
    READ,
    Exchange,
    Read,
    answered,
    request,
)
from tests.support.script import Answer, Then

HEAD = b"HEAD /one/x HTTP/1.1"
GET10 = b"GET /one/x HTTP/1.0"
FINAL = OK + b"Content-Length: 2\r\n\r\n{}"
JSON_TEXT = b'{"rooms":[' + b'{"room_id":"!abc:example.org","n":12345},' * 200 + b"{}]}"
JSON_ANSWER = OK + JSON + b"\r\nContent-Length: %d\r\n" % len(JSON_TEXT)


def zipped(
    name: str, *fields: bytes, line: bytes = b"GET /one/x HTTP/1.1", more: bytes = b""
) -> Exchange:
    """A request that asks for gzip, answered with 8 kB of JSON and these extra answer fields."""
    asked = request(line, *(fields or (b"Accept-Encoding: gzip, deflate, br",)))
    method = line.split(b" ")[0]
    text = b"" if method == b"HEAD" else JSON_TEXT
    return Exchange(name, (asked, Read(method)), (Answer((JSON_ANSWER + more + b"\r\n" + text,)),))


def typed(kind: bytes) -> Exchange:
    """8 kB of some media type for a client that takes gzip."""
    body = b"abcdefgh" * 1000
    answer = OK + b"Content-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(body)) + body
    return Exchange(
        f"gzip for {kind.decode()}",
        (request(b"GET /one/x HTTP/1.1", b"Accept-Encoding: gzip"), READ),
        (Answer((answer,)),),
    )


def sized(size: int, status: bytes = b"200 OK") -> Exchange:
    """JSON of a size for a client that takes gzip."""
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return Exchange(
        f"gzip for {size} bytes, {status.decode()}",
        (request(b"GET /one/x HTTP/1.1", b"Accept-Encoding: gzip"), READ),
        (Answer((head % (status, size) + b"x" * size,)),),
    )


def interim(name: str, first: bytes) -> Exchange:
    """An interim answer and a final one, for a client that wants no other afterwards."""
    asked = request(b"GET /one/x HTTP/1.1", b"Connection: close")
    return Exchange(name, (asked, READ), (Answer((first, FINAL)),))


ANSWERS: tuple[Exchange, ...] = (
    answered("length", OK + b"Content-Length: 5\r\n\r\nhello"),
    answered("length and close", OK + b"Content-Length: 5\r\n\r\nhello", then=Then.CLOSE),
    answered("2 MiB", OK + b"Content-Length: %d\r\n\r\n" % len(BIG) + BIG),
    answered("HEAD with a length", OK + b"Content-Length: 5\r\n\r\n", line=HEAD),
    answered("HEAD with a body", OK + b"Content-Length: 5\r\n\r\nhello", line=HEAD),
    answered("HEAD chunked", OK + CHUNKED + b"\r\n\r\n", line=HEAD),
    answered("HEAD without a length", OK + b"\r\n", line=HEAD, then=Then.CLOSE),
    answered("204", b"HTTP/1.1 204 No Content\r\nX-Y: 1\r\n\r\n"),
    answered("204 with length 0", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
    answered("204 with a body", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"),
    answered("304", b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n'),
    answered("304 with a length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
    answered("404 with JSON", b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}"),
    answered("500 without a reason", b"HTTP/1.1 500 \r\nContent-Length: 2\r\n\r\n{}"),
    answered("status line without a reason", b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}"),
    answered("odd reason", b"HTTP/1.1 200 Tr\xc3\xa8s bien: ok\r\nContent-Length: 2\r\n\r\n{}"),
    answered("unknown status", b"HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\n{}"),
    answered("status 599", b"HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n\r\n{}"),
    answered("status 600", b"HTTP/1.1 600 Odd\r\nContent-Length: 2\r\n\r\n{}"),
    answered("status 99", b"HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\n{}"),
    answered("status of four digits", b"HTTP/1.1 2000 Odd\r\nContent-Length: 2\r\n\r\n{}"),
    answered("chunked", OK + CHUNKED + b"\r\n\r\n" + CHUNKS),
    answered("chunked for HTTP/1.0", OK + CHUNKED + b"\r\n\r\n" + CHUNKS, line=GET10),
    answered("chunked with trailers", OK + CHUNKED + b"\r\n\r\n1\r\nx\r\n0\r\nX-T: 1\r\n\r\n"),
    answered("chunked, empty", OK + CHUNKED + b"\r\n\r\n0\r\n\r\n"),
    answered("no length", OK + b"\r\nhello", then=Then.CLOSE),
    answered("no length for HTTP/1.0", OK + b"\r\nhello", then=Then.CLOSE, line=GET10),
    answered("no length, empty", OK + b"\r\n", then=Then.CLOSE),
    answered("no length, then a reset", OK + b"\r\nhello", then=Then.RESET),
    answered("HTTP/1.0 with a length", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    answered("HTTP/1.0 without a length", b"HTTP/1.0 200 OK\r\n\r\nhello", then=Then.CLOSE),
    answered("chunked in HTTP/1.0", b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"\r\n\r\n" + CHUNKS),
    answered("length and chunked", OK + LENGTH % 5 + b"\r\n" + CHUNKED + b"\r\n\r\n" + CHUNKS),
    answered("gzip, chunked", OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS),
    answered("two equal lengths", OK + (LENGTH % 5 + b"\r\n") * 2 + b"\r\nhello"),
    answered("two lengths", OK + LENGTH % 5 + b"\r\n" + LENGTH % 6 + b"\r\n\r\nhello!"),
    answered("length with a plus", OK + b"Content-Length: +5\r\n\r\nhello", then=Then.CLOSE),
    answered("negative length", OK + b"Content-Length: -5\r\n\r\nhello", then=Then.CLOSE),
    answered("too many bytes", OK + LENGTH % 5 + b"\r\n\r\nhello, world"),
    answered("two answers", (OK + LENGTH % 5 + b"\r\n\r\nhello") * 2),
    answered("cut in the body", OK + LENGTH % 9 + b"\r\n\r\nhello", then=Then.CLOSE),
    answered("reset in the body", OK + LENGTH % 9 + b"\r\n\r\nhello", then=Then.RESET),
    answered("cut in a chunk", OK + CHUNKED + b"\r\n\r\n9\r\nhello", then=Then.CLOSE),
    answered("no last chunk", OK + CHUNKED + b"\r\n\r\n5\r\nhello\r\n", then=Then.CLOSE),
    answered("bad chunk size", OK + CHUNKED + b"\r\n\r\n5\r\nhello\r\nxyz\r\n", then=Then.CLOSE),
    answered("cut in the head", OK + b"Content-Le", then=Then.CLOSE),
    answered("cut in the status line", b"HTTP/1.1 20", then=Then.CLOSE),
    answered("not HTTP", b"220 hello, I am SMTP\r\n\r\n", then=Then.CLOSE),
    answered("HTTX/1.1", b"HTTX/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", then=Then.CLOSE),
    answered("HTTP/2.0", b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", then=Then.CLOSE),
    answered("a line without a colon", OK + b"garbage\r\nContent-Length: 2\r\n\r\n{}"),
    answered("continuation line", OK + b"X-Y: 1\r\n 2\r\nContent-Length: 2\r\n\r\n{}"),
    answered("space before the colon", OK + b"X-Y : 1\r\nContent-Length: 2\r\n\r\n{}"),
    answered("NUL in a value", OK + b"X-Y: a\0b\r\nContent-Length: 2\r\n\r\n{}"),
    answered("bare CR in a value", OK + b"X-Y: a\rb\r\nContent-Length: 2\r\n\r\n{}"),
    answered("control in a value", OK + b"X-Y: a\x01b\r\nContent-Length: 2\r\n\r\n{}"),
    answered("UTF-8 in a value", OK + b"X-Y: caf\xc3\xa9\r\nContent-Length: 2\r\n\r\n{}"),
    answered("bare line feeds", b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}"),
    answered("a field of 20k", OK + b"X-Y: %s\r\nContent-Length: 2\r\n\r\n{}" % (b"y" * 20_000)),
    answered("a field of 200k", OK + b"X-Y: %s\r\nContent-Length: 2\r\n\r\n{}" % (b"y" * 200_000)),
    answered("300 fields", OK + b"X-Y: 1\r\n" * 300 + b"Content-Length: 2\r\n\r\n{}"),
    interim("103, then 200", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
    interim("100, then 200", b"HTTP/1.1 100 Continue\r\n\r\n"),
    answered(
        "101 not asked for",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        then=Then.CLOSE,
    ),
    # Answer fields
    answered(
        "answer fields",
        OK + b"b: 2\r\nA: 1\r\nServer: Synapse/1.163.2\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
        b'Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nCache-Control: no-store\r\nETag: "x"\r\n'
        b"Access-Control-Allow-Origin: *\r\nContent-Length: 2\r\nContent-Type: application/json\r\n"
        b"Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\nVary: Origin\r\nEmpty:\r\n\r\n{}",
    ),
    answered("no type", OK + b"Content-Length: 2\r\n\r\n{}"),
    answered(
        "hop-by-hop answer fields",
        OK + b"Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
        b"Proxy-Connection: close\r\nUpgrade: h2c\r\nTrailer: X-T\r\nTE: x\r\n"
        b"Content-Length: 2\r\n\r\n{}",
    ),
    answered(
        "Connection: close",
        OK + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}",
        then=Then.CLOSE,
    ),
    answered("underscores in names", OK + b"My_Field: 1\r\nContent-Length: 2\r\n\r\n{}"),
    answered(
        "Location", b"HTTP/1.1 302 Found\r\nLocation: http://one/y\r\nContent-Length: 0\r\n\r\n"
    ),
    answered("Refresh", OK + b"Refresh: 0; url=http://one/y\r\nContent-Length: 0\r\n\r\n"),
    answered("X-Accel-Redirect", OK + b"X-Accel-Redirect: /unknown\r\nContent-Length: 2\r\n\r\n{}"),
    answered(
        "other X-Accel",
        OK + b"X-Accel-Expires: 0\r\nX-Accel-Buffering: no\r\nX-Accel-Charset: utf-8\r\n"
        b"Content-Length: 2\r\n\r\n{}",
    ),
    answered("Range of an answer", OK + b"Accept-Ranges: bytes\r\nContent-Length: 2\r\n\r\n{}"),
    answered(
        "charset", OK + b"Content-Type: text/html; charset=utf-8\r\nContent-Length: 2\r\n\r\nhi"
    ),
    # Compression
    zipped("gzip"),
    zipped("gzip not asked for", b"Accept: */*"),
    zipped("gzip for HTTP/1.0", line=GET10),
    zipped("gzip for HEAD", line=HEAD),
    zipped("gzip with q=0", b"Accept-Encoding: gzip;q=0"),
    zipped("gzip with q=0.001", b"Accept-Encoding: gzip;q=0.001"),
    zipped("gzip with q=1.000", b"Accept-Encoding: gzip;q=1.000"),
    zipped("gzip with a bad q", b"Accept-Encoding: gzip;q=x"),
    zipped("gzip by asterisk", b"Accept-Encoding: *"),
    zipped("gzip in upper case", b"Accept-Encoding: GZIP"),
    zipped("x-gzip", b"Accept-Encoding: x-gzip"),
    zipped("gzip second", b"Accept-Encoding: br, gzip"),
    zipped("gzip in the second field", b"Accept-Encoding: br", b"Accept-Encoding: gzip"),
    zipped("identity", b"Accept-Encoding: identity"),
    zipped("gzip for MSIE 6", b"Accept-Encoding: gzip", b"User-Agent: Mozilla/4.0 (MSIE 6.0)"),
    zipped("gzip behind a proxy", b"Accept-Encoding: gzip", b"Via: 1.1 proxy"),
    zipped("gzip and a range", b"Accept-Encoding: gzip", b"Range: bytes=0-9"),
    zipped("gzip with a strong ETag", more=b'ETag: "abc"\r\n'),
    zipped("gzip with a weak ETag", more=b'ETag: W/"abc"\r\n'),
    zipped("gzip with a bare ETag", more=b"ETag: 1\r\n"),
    zipped("gzip with no-transform", more=b"Cache-Control: no-transform\r\n"),
    zipped("gzip with Vary", more=b"Vary: Origin\r\n"),
    zipped("gzip with Vary: Accept-Encoding", more=b"Vary: Accept-Encoding\r\n"),
    zipped("gzip of what is coded", more=b"Content-Encoding: br\r\n"),
    zipped("gzip of what is coded identity", more=b"Content-Encoding: identity\r\n"),
    zipped("gzip with Accept-Ranges", more=b"Accept-Ranges: bytes\r\n"),
    zipped("gzip with Last-Modified", more=b"Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n"),
    zipped("gzip for POST", line=b"POST /one/x HTTP/1.1"),
    *(
        typed(kind)
        for kind in (
            b"text/html",
            b"application/json; charset=utf-8",
            b"APPLICATION/JSON",
            b"image/png",
            b"text/plain",
            b"image/svg+xml",
            b"application/xml",
            b"application/jsonx",
            b"text/css ; a=b",
        )
    ),
    *(sized(size) for size in (0, 999, 1000, 1001)),
    *(
        sized(2000, status)
        for status in (
            b"201 Created",
            b"403 Forbidden",
            b"404 Not Found",
            b"401 Unauthorized",
            b"400 Bad Request",
            b"500 Internal Server Error",
            b"206 Partial Content",
            b"302 Found",
            b"429 Too Many Requests",
        )
    ),
    Exchange(
        "gzip for a chunked answer",
        (request(b"GET /one/x HTTP/1.1", b"Accept-Encoding: gzip"), READ),
        (Answer((OK + JSON + b"\r\n" + CHUNKED + b"\r\n\r\n" + CHUNKS,)),),
    ),
    Exchange(
        "gzip for an answer without a length",
        (request(b"GET /one/x HTTP/1.1", b"Accept-Encoding: gzip"), READ),
        (Answer((OK + JSON + b"\r\n\r\n" + JSON_TEXT,), Then.CLOSE),),
    ),
    Exchange(
        "gzip of a cut answer",
        (request(b"GET /one/x HTTP/1.1", b"Accept-Encoding: gzip"), READ),
        (Answer((JSON_ANSWER + b"\r\n" + JSON_TEXT[:3000],), Then.CLOSE),),
    ),
)
