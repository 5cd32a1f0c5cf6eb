"""How synproxy's side of an exchange follows from nginx's: the vocabulary of ``listed_http``.

A change takes what nginx's client and servers saw, and gives what synproxy's must see. Those of
``EVERYWHERE`` hold for every exchange.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.differential.conversation import LOCAL, ClientSaw, Seen
from tests.differential.exchange import OK, OLD_DATE, Exchange

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


def each_answer(change: Callable[[Exchange, ClientSaw], ClientSaw]) -> Change:
    return lambda exchange, seen, _nginx: replace(
        seen, answers=tuple(change(exchange, answer) for answer in seen.answers)
    )


def each_head(change: Callable[[bytes], bytes]) -> Change:
    return lambda _exchange, seen, _nginx: replace(
        seen, requests=tuple(replace(r, head=change(r.head)) for r in seen.requests)
    )


def origin_date(_exchange: Exchange, answer: ClientSaw) -> ClientSaw:
    kept = (field for field in answer.fields if field[0] != b"date")
    return with_fields(answer, *kept, (b"date", OLD_DATE))


def with_fields(answer: ClientSaw, *fields: tuple[bytes, bytes]) -> ClientSaw:
    return replace(answer, fields=tuple(sorted(fields)))


def without_fields(*names: bytes) -> Change:
    """Without these answer fields."""
    return each_answer(
        lambda _, answer: with_fields(answer, *(f for f in answer.fields if f[0] not in names))
    )


def without_lines(*names: bytes) -> Change:
    """Without these request fields."""

    def change(head: bytes) -> bytes:
        lines = head.split(b"\r\n")
        return b"\r\n".join(line for line in lines if line.partition(b":")[0] not in names)

    return each_head(change)


# --- everywhere


def server_is_synproxy(_exchange: Exchange, answer: ClientSaw) -> ClientSaw:
    return with_fields(
        answer,
        *((n, v.replace(b"nginx", b"synproxy") if n == b"server" else v) for n, v in answer.fields),
    )


def no_keep_alive_field(exchange: Exchange, answer: ClientSaw) -> ClientSaw:
    first = exchange.steps[0]
    if isinstance(first, bytes) and b" HTTP/1.0\r\n" in first:
        return answer
    return with_fields(answer, *(f for f in answer.fields if f != (b"connection", b"keep-alive")))


EVERYWHERE = (
    HttpDifference("server-name", (), each_answer(server_is_synproxy)),
    HttpDifference("no-keep-alive-field", (), each_answer(no_keep_alive_field)),
)


def everywhere(exchange: Exchange, seen: Seen, nginx: NginxSaw) -> Seen:
    """What every exchange undergoes."""
    for listed in EVERYWHERE:
        seen = listed.change(exchange, seen, nginx)
    return seen


# --- requests


def bad_names_forwarded(head: bytes) -> bytes:
    names = (b"X^Y: 1", b"X!Y: 2", b"X.Y: 3", b"X+Y: 4", b"X~Y: 5", b"X|Y: 6")
    return head[:-2] + b"\r\n".join(names) + b"\r\n\r\n"


def options_answered(_exchange: Exchange, _seen: Seen, _nginx: NginxSaw) -> Seen:
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


def streamed(_exchange: Exchange, seen: Seen, _nginx: NginxSaw) -> Seen:
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


def no_interim(_exchange: Exchange, seen: Seen, _nginx: NginxSaw) -> Seen:
    return replace(seen, answers=tuple(a for a in seen.answers if a.status >= 200))


def kept_after_413(_exchange: Exchange, seen: Seen, _nginx: NginxSaw) -> Seen:
    return replace(seen, answers=(local(413, close=False),), end="kept")


def status_is(status: int) -> Change:
    return each_answer(lambda _, answer: replace(answer, status=status))


# --- answers


def swallowed(_exchange: Exchange, seen: Seen, nginx: NginxSaw) -> Seen:
    """Only the final answer, as if it had come alone."""
    plain = everywhere(_exchange, nginx("request: Connection: close"), nginx).answers[0]
    fields = tuple(field for field in plain.fields if field[0] != b"content-type")
    return Seen((replace(plain, fields=fields),), "closed", seen.requests)


def with_reason(_exchange: Exchange, seen: Seen, nginx: NginxSaw) -> Seen:
    other = everywhere(_exchange, nginx("answer: no type"), nginx)
    return Seen((replace(other.answers[0], reason=b""),), "kept", seen.requests)


def cut_after_a_chunk(_exchange: Exchange, seen: Seen, nginx: NginxSaw) -> Seen:
    other = everywhere(_exchange, nginx("answer: no last chunk"), nginx)
    return Seen(other.answers, "cut", seen.requests)


def forwarded_whole(_exchange: Exchange, seen: Seen, nginx: NginxSaw) -> Seen:
    return replace(everywhere(_exchange, nginx("answer: no type"), nginx), requests=seen.requests)


def not_replayed(_exchange: Exchange, seen: Seen, _nginx: NginxSaw) -> Seen:
    return Seen((local(502, close=False),), "kept", seen.requests[:1])


# --- compression


def uncompressed(exchange: Exchange, seen: Seen, _nginx: NginxSaw) -> Seen:
    """As the server sent it."""
    raw = b"".join(part for part in exchange.answers[0].parts if isinstance(part, bytes))
    head, _, body = raw.removeprefix(OK).partition(b"\r\n\r\n")
    sent = [line.split(b": ", 1) for line in head.split(b"\r\n")]
    added = [f for f in seen.answers[0].fields if f[0] in (b"date", b"server", b"connection")]
    answer = with_fields(seen.answers[0], *((name.lower(), value) for name, value in sent), *added)
    if answer.framing != "none" and b"Transfer-Encoding" not in head:
        answer = replace(answer, framing="length", content=body)
    return replace(seen, answers=(answer,))


def compressed(_exchange: Exchange, seen: Seen, _nginx: NginxSaw) -> Seen:
    answer = seen.answers[0]
    fields = (
        (name, b"(gzip)" if name == b"content-length" else value) for name, value in answer.fields
    )
    return replace(seen, answers=(with_fields(answer, *fields, (b"content-encoding", b"gzip")),))


def gzip_with_length(_exchange: Exchange, seen: Seen, _nginx: NginxSaw) -> Seen:
    return replace(
        seen,
        answers=tuple(
            replace(
                with_fields(
                    answer,
                    *(f for f in answer.fields if f[0] != b"transfer-encoding"),
                    (b"content-length", b"(gzip)"),
                ),
                framing="length",
            )
            for answer in seen.answers
        ),
    )
