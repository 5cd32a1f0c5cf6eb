"""Hostile messages of our own: what no collected suite has, with what must become of each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from tests.hostile.conversation import CONFIG


class OwnRequest(NamedTuple):
    """``statuses``: of the answers; 200 is a server's. ``sent_on``: lower-case fields that the
    server gets, with their values; ``dropped``: names that it must not get."""

    name: str
    raw: bytes
    statuses: tuple[int, ...]
    sent_on: Mapping[bytes, bytes] = MappingProxyType({})
    dropped: tuple[bytes, ...] = ()


class OwnAnswer(NamedTuple):
    """``verdict`` and ``kept``: as in :class:`tests.hostile.answers.Fate`, if the server falls
    silent behind it. ``body``: what the client may believe to be the answer's."""

    name: str
    raw: bytes
    verdict: str
    kept: bool
    body: bytes = b""


OWN_CONFIG: Final = {
    **CONFIG,
    "maps": {"connection_upgrade": {"source": "$http_upgrade", "values": {"": ""}}},
    "proxy": {
        "set_header": {
            "Host": "$host",
            "X-Forwarded-For": "$remote_addr",
            "X-Forwarded-Proto": "$scheme",
            "Connection": "$connection_upgrade",
            "Upgrade": "$http_upgrade",
        }
    },
}
"""With what an admin needs for upgrades."""

END: Final = b"\r\n\r\n"


def get(*fields: bytes, target: bytes = b"/x", version: bytes = b"HTTP/1.1") -> bytes:
    lines = (b"GET " + target + b" " + version, b"Host: a", *fields)
    return b"\r\n".join(lines) + END


def post(*fields: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join((b"POST /x HTTP/1.1", b"Host: a", *fields)) + END + body


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


_H2C: Final = (b"upgrade", b"http2-settings", b"connection")
_SETTINGS: Final = b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"

REQUESTS: Final = (
    # --- HTTP/2 by the back door
    OwnRequest(
        "h2c as RFC 7540 has it",
        get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", _SETTINGS),
        (200,),
        dropped=_H2C,
    ),
    OwnRequest(
        "h2c that only Upgrade names",
        get(b"Connection: Upgrade", b"Upgrade: h2c", _SETTINGS),
        (200,),
        dropped=(b"upgrade", b"connection"),
    ),
    OwnRequest(
        "h2c in other letters", get(b"Connection: upgrade", b"Upgrade: H2C"), (200,), dropped=_H2C
    ),
    OwnRequest(
        "h2c beside websocket",
        get(b"Connection: Upgrade", b"Upgrade: websocket, h2c"),
        (200,),
        dropped=_H2C,
    ),
    OwnRequest(
        "h2c with a version", get(b"Connection: Upgrade", b"Upgrade: h2c/2"), (200,), dropped=_H2C
    ),
    OwnRequest("h2c without Connection", get(b"Upgrade: h2c"), (200,), dropped=_H2C),
    OwnRequest(
        "h2c twice", get(b"Connection: Upgrade", b"Upgrade: websocket", b"Upgrade: h2c"), (400,)
    ),
    OwnRequest(
        "an upgrade with a body behind it",
        post(b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 3", body=b"GET"),
        (200,),
        dropped=_H2C,
    ),
    OwnRequest(
        "an upgrade with chunks behind it",
        post(
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Transfer-Encoding: chunked",
            body=b"0" + END,
        ),
        (200,),
        dropped=_H2C,
    ),
    # --- methods and targets that mean another kind of proxy
    OwnRequest("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443" + END, (405,)),
    OwnRequest("CONNECT with a path", b"CONNECT /x HTTP/1.1\r\nHost: a" + END, (405,)),
    OwnRequest("CONNECT in small letters", b"connect a:443 HTTP/1.1\r\nHost: a" + END, (400,)),
    OwnRequest("TRACE", b"TRACE /x HTTP/1.1\r\nHost: a" + END, (405,)),
    OwnRequest("authority-form", get(target=b"a:80"), (400,)),
    OwnRequest("a target of another scheme", get(target=b"ftp://a/x"), (400,)),
    OwnRequest("a target with a user", get(target=b"http://u@a/x"), (400,)),
    OwnRequest("a target without a host", get(target=b"http:///x"), (400,)),
    OwnRequest("a target with a fragment", get(target=b"/x#y"), (400,)),
    OwnRequest("* for GET", get(target=b"*"), (400,)),
    OwnRequest("absolute-form of another host", get(target=b"http://b/x"), (200,)),
    # --- versions
    OwnRequest("HTTP/2.0", get(version=b"HTTP/2.0"), (505,)),
    OwnRequest("HTTP/0.9 in three words", get(version=b"HTTP/0.9"), (505,)),
    OwnRequest("HTTP/0.9 in two", b"GET /x" + END, (400,)),
    OwnRequest("HTTP/1.10", get(version=b"HTTP/1.10"), (400,)),
    OwnRequest("http/1.1", get(version=b"http/1.1"), (400,)),
    OwnRequest("HTTP/2.1 and a bare LF", get(b"X: a\r\n\nb: c", version=b"HTTP/2.1"), (400,)),
    OwnRequest("CONNECT and a bare LF", b"CONNECT a:443 HTTP/1.1\nHost: a" + END, (400,)),
    OwnRequest("a version in UTF-8", get(version=b"HTTP/1.\xef\xbc\x91"), (400,)),
    # --- percent-encoding
    OwnRequest("%00", get(target=b"/a%00b"), (400,)),
    OwnRequest("no hex behind %", get(target=b"/a%zz"), (400,)),
    OwnRequest("% at the end", get(target=b"/a%"), (400,)),
    OwnRequest("half a byte at the end", get(target=b"/a%4"), (400,)),
    OwnRequest("above the root", get(target=b"/../x"), (400,)),
    OwnRequest("above the root, encoded", get(target=b"/%2e%2E/x"), (400,)),
    OwnRequest("a NUL", get(target=b"/a\0b"), (400,)),
    # --- Connection names what is not its
    OwnRequest(
        "Connection: Authorization",
        get(b"Authorization: Bearer t", b"Connection: Authorization"),
        (200,),
        {b"authorization": b"Bearer t"},
    ),
    OwnRequest(
        "Connection: X-Forwarded-For",
        get(b"X-Forwarded-For: 127.0.0.1", b"Connection: close, X-Forwarded-For"),
        (200,),
        {b"x-forwarded-for": b"192.0.2.1"},
    ),
    OwnRequest("Connection: Host", get(b"Connection: Host"), (200,), {b"host": b"a"}),
    OwnRequest(
        "Connection: Content-Length",
        post(b"Connection: content-length", b"Content-Length: 4", body=b"body"),
        (200,),
        {b"content-length": b"4"},
    ),
    OwnRequest(
        "Connection: Transfer-Encoding",
        post(
            b"Connection: transfer-encoding",
            b"Transfer-Encoding: chunked",
            body=b"4\r\nbody\r\n0" + END,
        ),
        (200,),
        {b"transfer-encoding": b"chunked"},
    ),
    OwnRequest(
        "Connection: Cookie",
        get(b"Cookie: a=b", b"Connection: cookie"),
        (200,),
        {b"cookie": b"a=b"},
    ),
    OwnRequest(
        "Connection: Content-Type",
        post(b"Content-Type: a/b", b"Connection: content-type", b"Content-Length: 0"),
        (200,),
        {b"content-type": b"a/b"},
    ),
    OwnRequest("Connection: TE", get(b"TE: trailers", b"Connection: TE"), (200,), {}, (b"te",)),
    # --- fields that are taken for others
    OwnRequest("X_Forwarded_For", get(b"X_Forwarded_For: 127.0.0.1"), (200,)),
    OwnRequest(
        "Content_Length", post(b"Content_Length: 9", b"Content-Length: 4", body=b"body"), (200,)
    ),
    OwnRequest(
        "Transfer_Encoding",
        post(b"Transfer_Encoding: chunked", b"Content-Length: 5", body=b"0" + END),
        (200,),
        {b"content-length": b"5"},
    ),
    OwnRequest("two Authorizations", get(b"Authorization: a", b"Authorization: b"), (400,)),
    # --- too much
    OwnRequest("a line of 9 kB", get(target=b"/" + b"a" * 9000), (414,)),
    OwnRequest("a field of 9 kB", get(b"A: " + b"a" * 9000), (431,)),
    OwnRequest("40 kB of fields", get(*[b"A%d: " % n + b"a" * 4000 for n in range(10)]), (431,)),
    OwnRequest("101 fields", get(*[b"A%d: b" % n for n in range(100)]), (431,)),
    OwnRequest("100 fields", get(*[b"A%d: b" % n for n in range(99)]), (200,)),
    OwnRequest("a method of 33 letters", b"A" * 33 + b" /x HTTP/1.1\r\nHost: a" + END, (400,)),
    OwnRequest("a body above the limit", post(b"Content-Length: 1048577", body=b"x"), (413,)),
    # --- chunks
    OwnRequest("an extension", chunked(b"4;a=b\r\nbody\r\n0" + END), (200,)),
    OwnRequest("a quoted extension", chunked(b'4;a="b;\\"c"\r\nbody\r\n0' + END), (200,)),
    OwnRequest("an extension with LF", chunked(b"4;a=\nb\r\nbody\r\n0" + END), (400,)),
    OwnRequest("an extension with CR", chunked(b"4;a=\rb\r\nbody\r\n0" + END), (400,)),
    OwnRequest("an extension with NUL", chunked(b"4;a=\0\r\nbody\r\n0" + END), (400,)),
    OwnRequest(
        "an extension of 9 kB", chunked(b"4;" + b"a" * 9000 + b"\r\nbody\r\n0" + END), (400,)
    ),
    OwnRequest("a size of 17 digits", chunked(b"0" * 16 + b"4\r\nbody\r\n0" + END), (400,)),
    OwnRequest("a size that wraps", chunked(b"10000000000000004\r\nbody\r\n0" + END), (400,)),
    OwnRequest("a size in hex with 0x", chunked(b"0x4\r\nbody\r\n0" + END), (400,)),
    OwnRequest("a negative size", chunked(b"-4\r\nbody\r\n0" + END), (400,)),
    OwnRequest("more than the size", chunked(b"4\r\nbodyy\r\n0" + END), (400,)),
    OwnRequest("LF behind the size", chunked(b"4\nbody\r\n0" + END), (400,)),
    OwnRequest("a request in the trailer", chunked(b"0\r\nGET /y HTTP/1.1" + END), (400,)),
    OwnRequest("a length in the trailer", chunked(b"0\r\nContent-Length: 9" + END), (400,)),
    OwnRequest("a coding in the trailer", chunked(b"0\r\nTransfer-Encoding: x" + END), (400,)),
    OwnRequest(
        "who one is in the trailer",
        chunked(b"0\r\nAuthorization: Bearer t" + END),
        (400,),
    ),
    OwnRequest("a trailer of 9 kB", chunked(b"0\r\nA: " + b"a" * 9000 + END), (400,)),
    OwnRequest(
        "a harmless trailer", chunked(b"4\r\nbody\r\n0\r\nX-A: b" + END), (200,), {}, (b"x-a",)
    ),
    # --- codings; RFC 9112 section 6.1 wants 501 for those we do not know
    *(
        OwnRequest("coding " + coding.decode(), post(b"Transfer-Encoding: " + coding), (501,))
        for coding in (b"gzip", b"gzip, chunked", b"identity", b"chunked;q=1")
    ),
    OwnRequest("chunked twice", post(b"Transfer-Encoding: chunked, chunked"), (400,)),
)

# --- a block of fields that comes again on the same connection, but for its length

BLOCKS: Final = (
    (b"Host: a", b"Authorization: Bearer t", b"@", b"User-Agent: b"),
    (b"Host: a", b"@"),
)
"""``@`` is the length; what is behind it and before it is remembered."""

GOOD_LENGTH: Final = b"Content-Length: 5"

LENGTHS: Final = {
    b"Content-Length: +5": 400,
    b"Content-Length: -5": 400,
    b"Content-Length: 5,5": 400,
    b"Content-Length: 5, 5": 400,
    b"Content-Length: 5;5": 400,
    b"Content-Length: 5 5": 400,
    b"Content-Length:": 400,
    b"Content-Length: ": 400,
    b"Content-Length: 0x5": 400,
    b"Content-Length: 5.0": 400,
    b"Content-Length: 1e1": 400,
    b"Content-Length: 5_0": 400,
    b"Content-Length: 05": 200,
    b"Content-Length: 005": 200,
    b"Content-Length: 00": 200,
    b"Content-Length:  5": 200,
    b"Content-Length:\t5": 200,
    b"Content-Length: 5 ": 200,
    b"Content-Length: 5\t": 200,
    b"Content-Length:5": 200,
    b"Content-Length: \x0b5": 400,
    b"Content-Length: 5\x0b": 400,
    b"Content-Length: 5\x00": 400,
    b"Content-Length: \x005": 400,
    b"Content-Length: 5\x7f": 400,
    b"Content-Length: \xb2": 400,
    b"Content-Length: \xd9\xa5": 400,
    b"Content-Length: five": 400,
    b"Content-Length: 5\r\n ": 400,
    b"Content-Length: 5\r\n 5": 400,
    b"Content-Length: 5\r": 400,
    b"Content-Length: 5\n": 400,
    b"Content-Length: \r\n 5": 400,
    b"Content-Length: 99999999999999999": 413,
    b"Content-Length: 999999999999999999": 413,
    b"Content-Length: 9999999999999999999": 400,
    b"Content-Length: 18446744073709551621": 400,
    b"Content-Length: 4294967301": 413,
    b"Content-Length: 5\r\nContent-Length: 5": 400,
    b"Content-Length: 5\r\nContent-Length: 6": 400,
    b"Content-Length: 5\r\nContent-Length:": 400,
    b"Content-Length: 5\r\nTransfer-Encoding: chunked": 400,
    b"Content-Length: 0\r\nTransfer-Encoding: chunked": 400,
    b"Content-Length: 5\r\nConnection: close": 200,
    b"Content-Length: 5\r\nUpgrade: h2c": 200,
    b"Content-Length: 5\r\nExpect: 200-ok": 417,
    b"Content-Length: 5\r\n\r\n": 200,
    b"Content-Length : 5": 400,
    b"Content-Length\t: 5": 400,
    b" Content-Length: 5": 400,
    b"Content_Length: 5": 200,
    b"Content-Length": 400,
    b"Transfer-Encoding: chunked": 200,
    b"X: 5": 200,
    b"Content-Length: 5\r\nX: 5": 200,
    b"cONTENT-lENGTH: 5": 200,
    b"content-length:5": 200,
}
"""With the status of the answer; what is taken has one meaning only."""


def with_length(block: tuple[bytes, ...], length: bytes, body: bytes = b"0\r\n\r\n") -> bytes:
    fields = [length if field == b"@" else field for field in block]
    return b"\r\n".join((b"POST /x HTTP/1.1", *fields)) + END + body


# --- answers

_OK: Final = b"HTTP/1.1 200 OK\r\n"
_TWO: Final = _OK + b"Content-Length: 2\r\n\r\nok"
_NEXT: Final = _OK + b"Content-Length: 4\r\n\r\nevil"

ANSWERS: Final = (
    OwnAnswer("a plain one", _TWO, "passed on", True, b"ok"),
    OwnAnswer("a second one behind it", _TWO + _NEXT, "passed on", False, b"ok"),
    OwnAnswer("a byte behind it", _TWO + b"\n", "passed on", False, b"ok"),
    OwnAnswer("an empty line behind it", _TWO + b"\r\n", "passed on", False, b"ok"),
    OwnAnswer(
        "a second one behind chunks",
        _OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + _NEXT,
        "passed on",
        False,
        b"ok",
    ),
    OwnAnswer(
        "a trailer that is a head",
        _OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n" + _NEXT,
        "cut",
        False,
        b"ok",
    ),
    OwnAnswer("204 with a body", b"HTTP/1.1 204 No Content\r\n\r\n" + _NEXT, "passed on", False),
    OwnAnswer(
        "204 with a length",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil",
        "passed on",
        False,
    ),
    OwnAnswer(
        "304 with a length and no body",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n",
        "passed on",
        True,
    ),
    OwnAnswer(
        "304 with a body",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
        "passed on",
        False,
    ),
    OwnAnswer(
        "304 with chunks",
        b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "passed on",
        False,
    ),
    OwnAnswer(
        "101 that nobody asked for",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "502",
        False,
    ),
    OwnAnswer("101 without a protocol", b"HTTP/1.1 101 X\r\n\r\n", "502", False),
    OwnAnswer("100 before it", b"HTTP/1.1 100 Continue\r\n\r\n" + _TWO, "passed on", True, b"ok"),
    OwnAnswer(
        "103 with fields before it",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 9\r\n\r\n" + _TWO,
        "passed on",
        True,
        b"ok",
    ),
    OwnAnswer("17 of 100 before it", b"HTTP/1.1 100 A\r\n\r\n" * 17 + _TWO, "502", False),
    OwnAnswer("100 and no more", b"HTTP/1.1 100 Continue\r\n\r\n", "504", False),
    OwnAnswer("199", b"HTTP/1.1 199 X\r\n\r\n" + _TWO, "passed on", True, b"ok"),
    OwnAnswer(
        "less than its length", _OK + b"Content-Length: 9\r\n\r\nhalf", "cut", False, b"half"
    ),
    OwnAnswer(
        "less than its chunk",
        _OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf",
        "cut",
        False,
        b"half",
    ),
    OwnAnswer(
        "chunks without the last",
        _OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        "cut",
        False,
        b"ok",
    ),
    OwnAnswer(
        "chunks without the last CRLF",
        _OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
        "cut",
        False,
        b"ok",
    ),
    OwnAnswer(
        "two lengths", _OK + b"Content-Length: 2\r\nContent-Length: 4\r\n\r\nok", "502", False
    ),
    OwnAnswer("a length with +", _OK + b"Content-Length: +2\r\n\r\nok", "502", False),
    OwnAnswer("a length twice in one", _OK + b"Content-Length: 2, 2\r\n\r\nok", "502", False),
    OwnAnswer("an empty length", _OK + b"Content-Length:\r\n\r\nok", "502", False),
    OwnAnswer(
        "a length and chunks",
        _OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "502",
        False,
    ),
)
