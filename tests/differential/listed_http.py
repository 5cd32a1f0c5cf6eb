"""The listed differences (docs/nginx-differences.md) that the HTTP exchanges meet.

Each names its exchanges and turns what nginx's client and servers saw into what synproxy's must
see. Those of ``EVERYWHERE`` hold for every exchange.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.differential.conversation import LOCAL, ClientSaw, Seen
from tests.differential.exchange import BIG, OK, OLD_DATE, Exchange

NginxSaw = Callable[[str], Seen]
"""What nginx's side saw of another exchange."""

Change = Callable[[Exchange, Seen, NginxSaw], Seen]


@dataclass(frozen=True, slots=True)
class HttpDifference:
    """``change`` is applied, in the order of the table, to what nginx's side saw of ``names``."""

    id: str
    names: tuple[str, ...]
    change: Change


def local(status: int, *, close: bool = True) -> ClientSaw:
    """An answer of synproxy's own, as ``conversation.as_local`` leaves it."""
    fields = ((b"connection", b"close"),) if close else ()
    return ClientSaw(status, b"HTTP/1.1", b"", fields, LOCAL, "own", True)


def refused(status: int) -> Change:
    """synproxy refuses the request, and closes."""
    return lambda _exchange, _seen, _nginx: Seen((local(status),), "closed", ())


def bad_gateway(_exchange: Exchange, seen: Seen, _nginx: NginxSaw) -> Seen:
    """synproxy refuses the answer; the client's connection lives on."""
    return Seen((local(502, close=False),), "kept", seen.requests)


def like(name: str, head: tuple[bytes, bytes] | None = None) -> Change:
    """As nginx treats another exchange, with one replacement in the head the server gets."""

    def change(_exchange: Exchange, _seen: Seen, nginx: NginxSaw) -> Seen:
        other = everywhere(_exchange, nginx(name), nginx)
        if head is None:
            return other
        requests = (replace(r, head=r.head.replace(*head)) for r in other.requests)
        return replace(other, requests=tuple(requests))

    return change


def _each_answer(change: Callable[[Exchange, ClientSaw], ClientSaw]) -> Change:
    return lambda exchange, seen, _nginx: replace(
        seen, answers=tuple(change(exchange, answer) for answer in seen.answers)
    )


def _each_head(change: Callable[[bytes], bytes]) -> Change:
    return lambda _exchange, seen, _nginx: replace(
        seen, requests=tuple(replace(r, head=change(r.head)) for r in seen.requests)
    )


def _origin_date(_exchange: Exchange, answer: ClientSaw) -> ClientSaw:
    kept = (field for field in answer.fields if field[0] != b"date")
    return _fields(answer, *kept, (b"date", OLD_DATE))


def _fields(answer: ClientSaw, *fields: tuple[bytes, bytes]) -> ClientSaw:
    return replace(answer, fields=tuple(sorted(fields)))


def _without(*names: bytes) -> Change:
    """Without these answer fields."""
    return _each_answer(
        lambda _, answer: _fields(answer, *(f for f in answer.fields if f[0] not in names))
    )


def _without_lines(*names: bytes) -> Change:
    """Without these request fields."""

    def change(head: bytes) -> bytes:
        lines = head.split(b"\r\n")
        return b"\r\n".join(line for line in lines if line.partition(b":")[0] not in names)

    return _each_head(change)


# --- everywhere


def _server(_exchange: Exchange, answer: ClientSaw) -> ClientSaw:
    return _fields(
        answer,
        *((n, v.replace(b"nginx", b"synproxy") if n == b"server" else v) for n, v in answer.fields),
    )


def _no_keep_alive_field(exchange: Exchange, answer: ClientSaw) -> ClientSaw:
    first = exchange.steps[0]
    if isinstance(first, bytes) and b" HTTP/1.0\r\n" in first:
        return answer
    return _fields(answer, *(f for f in answer.fields if f != (b"connection", b"keep-alive")))


EVERYWHERE = (
    HttpDifference("server-name", (), _each_answer(_server)),
    HttpDifference("no-keep-alive-field", (), _each_answer(_no_keep_alive_field)),
)


def everywhere(exchange: Exchange, seen: Seen, nginx: NginxSaw) -> Seen:
    """What every exchange undergoes."""
    for listed in EVERYWHERE:
        seen = listed.change(exchange, seen, nginx)
    return seen


# --- requests


def _bad_names_forwarded(head: bytes) -> bytes:
    names = (b"X^Y: 1", b"X!Y: 2", b"X.Y: 3", b"X+Y: 4", b"X~Y: 5", b"X|Y: 6")
    return head[:-2] + b"\r\n".join(names) + b"\r\n\r\n"


def _options(_exchange: Exchange, _seen: Seen, _nginx: NginxSaw) -> Seen:
    fields = (
        (b"access-control-allow-headers", b"X-Requested-With, Content-Type, Authorization, Date"),
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, DELETE, OPTIONS"),
        (b"access-control-allow-origin", b"*"),
        (b"access-control-expose-headers", b"Synapse-Trace-Id, Server"),
        (b"date", b"(now)"),
        (b"server", b"synproxy"),
    )
    answer = ClientSaw(204, b"HTTP/1.1", b"No Content", fields, b"", "none", True)
    return Seen((answer,), "kept", ())


def _streamed(_exchange: Exchange, seen: Seen, _nginx: NginxSaw) -> Seen:
    requests = (
        replace(
            request,
            framing="chunked",
            head=request.head.replace(
                b"Content-Length: %d\r\n" % len(request.body), b"Transfer-Encoding: chunked\r\n"
            ),
        )
        for request in seen.requests
    )
    return replace(seen, requests=tuple(requests))


def _no_interim(_exchange: Exchange, seen: Seen, _nginx: NginxSaw) -> Seen:
    return replace(seen, answers=tuple(a for a in seen.answers if a.status >= 200))


def _kept_after_413(_exchange: Exchange, seen: Seen, _nginx: NginxSaw) -> Seen:
    return replace(seen, answers=(local(413, close=False),), end="kept")


def _status(status: int) -> Change:
    return _each_answer(lambda _, answer: replace(answer, status=status))


# --- answers


def _swallowed(_exchange: Exchange, seen: Seen, nginx: NginxSaw) -> Seen:
    """Only the final answer, as if it had come alone."""
    plain = everywhere(_exchange, nginx("request: Connection: close"), nginx).answers[0]
    fields = tuple(field for field in plain.fields if field[0] != b"content-type")
    return Seen((replace(plain, fields=fields),), "closed", seen.requests)


def _with_reason(_exchange: Exchange, seen: Seen, nginx: NginxSaw) -> Seen:
    other = everywhere(_exchange, nginx("answer: no type"), nginx)
    return Seen((replace(other.answers[0], reason=b""),), "kept", seen.requests)


def _cut_after_a_chunk(_exchange: Exchange, seen: Seen, nginx: NginxSaw) -> Seen:
    other = everywhere(_exchange, nginx("answer: no last chunk"), nginx)
    return Seen(other.answers, "cut", seen.requests)


def _forwarded_whole(_exchange: Exchange, seen: Seen, nginx: NginxSaw) -> Seen:
    return replace(everywhere(_exchange, nginx("answer: no type"), nginx), requests=seen.requests)


def _not_replayed(_exchange: Exchange, seen: Seen, _nginx: NginxSaw) -> Seen:
    return Seen((local(502, close=False),), "kept", seen.requests[:1])


# --- compression


def _uncompressed(exchange: Exchange, seen: Seen, _nginx: NginxSaw) -> Seen:
    """As the server sent it."""
    raw = b"".join(part for part in exchange.answers[0].parts if isinstance(part, bytes))
    head, _, body = raw.removeprefix(OK).partition(b"\r\n\r\n")
    sent = [line.split(b": ", 1) for line in head.split(b"\r\n")]
    added = [f for f in seen.answers[0].fields if f[0] in (b"date", b"server", b"connection")]
    answer = _fields(seen.answers[0], *((name.lower(), value) for name, value in sent), *added)
    if answer.framing != "none" and b"Transfer-Encoding" not in head:
        answer = replace(answer, framing="length", content=body)
    return replace(seen, answers=(answer,))


def _compressed(_exchange: Exchange, seen: Seen, _nginx: NginxSaw) -> Seen:
    answer = seen.answers[0]
    fields = (
        (name, b"(gzip)" if name == b"content-length" else value) for name, value in answer.fields
    )
    return replace(seen, answers=(_fields(answer, *fields, (b"content-encoding", b"gzip")),))


def _gzip_with_length(_exchange: Exchange, seen: Seen, _nginx: NginxSaw) -> Seen:
    return replace(
        seen,
        answers=tuple(
            replace(
                _fields(
                    answer,
                    *(f for f in answer.fields if f[0] != b"transfer-encoding"),
                    (b"content-length", b"(gzip)"),
                ),
                framing="length",
            )
            for answer in seen.answers
        ),
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
    HttpDifference("options-asterisk", _requests("OPTIONS of the server"), _options),
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
        _each_head(lambda head: head.replace(b"C: \t3\t\r\n", b"C: 3\r\n")),
    ),
    HttpDifference("token-field-names", _requests("bad names"), _each_head(_bad_names_forwarded)),
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
        _without_lines(b"Trailer", b"Proxy-Connection", b"X-Hop"),
    ),
    HttpDifference(
        "upgrade-needs-connection",
        _requests("an upgrade without Connection"),
        _each_head(
            lambda head: head.replace(
                b"Connection: upgrade\r\nUpgrade: websocket\r\n", b"Connection: close\r\n"
            )
        ),
    ),
    HttpDifference(
        "no-h2c-upgrade",
        _requests("HTTP2-Settings"),
        _each_head(
            lambda head: head.replace(
                b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Connection: close\r\n"
            ).replace(b"HTTP2-Settings: A\r\n", b"")
        ),
    ),
    HttpDifference("unknown-expectation", _requests("Expect something else"), refused(417)),
    HttpDifference(
        "no-needless-100",
        _requests("Expect without a body", "Expect with the body at once"),
        _no_interim,
    ),
    HttpDifference(
        "head-too-large-status",
        _requests("a field over 32k", "a field over all buffers", "fields over 96k together"),
        _status(431),
    ),
    HttpDifference("target-line-limit", _requests("target of 20k"), refused(414)),
    HttpDifference("field-line-limit", _requests("a longer field"), refused(431)),
    HttpDifference("head-limit", _requests("fields over 64k together"), refused(431)),
    HttpDifference("field-count", _requests("300 fields"), refused(431)),
    # Request bodies
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
        _streamed,
    ),
    HttpDifference(
        "chunk-extension-limit", _requests("chunked with a long extension"), refused(400)
    ),
    HttpDifference("chunk-size-space", _requests("chunk size with a space"), refused(400)),
    HttpDifference("unknown-coding-status", _requests("xchunked", "identity"), _status(400)),
    HttpDifference("connection-kept-after-413", _requests("length over a limit"), _kept_after_413),
    # Answers
    HttpDifference("origin-date", _answers("answer fields"), _each_answer(_origin_date)),
    HttpDifference(
        "no-length-on-204",
        _answers("204 with length 0", "204 with a body"),
        _without(b"content-length"),
    ),
    HttpDifference("reason-phrase", _answers("status line without a reason"), _with_reason),
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
    HttpDifference("bad-chunk", _answers("bad chunk size"), _cut_after_a_chunk),
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
    HttpDifference("interim-answers", _answers("103, then 200", "100, then 200"), _swallowed),
    HttpDifference("unasked-101", _answers("101 not asked for"), bad_gateway),
    HttpDifference(
        "hop-by-hop-answer-fields",
        _answers("hop-by-hop answer fields"),
        _without(b"proxy-connection", b"te", b"trailer", b"upgrade", b"x-hop"),
    ),
    HttpDifference("x-accel-redirect", _answers("X-Accel-Redirect"), _forwarded_whole),
    HttpDifference(
        "large-body-not-replayed",
        (f"failure: reset, PUT with {len(BIG)} bytes",),
        _not_replayed,
    ),
    # Compression
    HttpDifference(
        "no-gzip-of-strong-etag",
        _answers("gzip with a strong ETag", "gzip with a bare ETag"),
        _uncompressed,
    ),
    HttpDifference("no-transform", _answers("gzip with no-transform"), _uncompressed),
    HttpDifference("gzip-for-head", _answers("gzip for HEAD"), _uncompressed),
    HttpDifference("gzip-short-chunked", _answers("gzip for a chunked answer"), _uncompressed),
    HttpDifference("gzip-accepted", _answers("gzip by asterisk", "x-gzip"), _compressed),
    HttpDifference("gzip-type-spaces", _answers("gzip for text/css ; a=b"), _compressed),
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
        _gzip_with_length,
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
