"""How others read a stream of requests: what synproxy sends on must mean the same to all of them.

``canonical`` accepts only what synproxy may write; ``lenient`` takes everything that some server
was ever known to take. Both and h11 and llhttp give the same :class:`Message` list, or the stream
is ambiguous.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final, NamedTuple

import h11
import httptools

_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) (\*|/[!\"$-~]*) HTTP/1\.1")
_FIELD: Final = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)"
)
_SIZE: Final = re.compile(rb"[1-9a-f][0-9a-f]*|0")


class Message(NamedTuple):
    """A request: its body is None where it never ended."""

    method: bytes
    target: bytes
    body: bytes | None


class AmbiguousError(AssertionError):
    """Not the canonical form, or read differently by two readers."""


def agreed(stream: bytes) -> list[tuple[bytes, Message]]:
    """What all readers read; each message with its head.

    :raises AmbiguousError: they do not.
    """
    read = canonical(stream)
    messages = [message for _, message in read]
    for reader in (by_h11, by_llhttp, lenient):
        other = reader(stream)
        if other != messages:
            raise AmbiguousError(f"{reader.__name__} reads {other}, canonical {messages}")
    return read


def fields_of(head: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of a canonical head, names in lower case."""
    fields = []
    for line in head.split(b"\r\n")[1:]:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise AmbiguousError(f"field line {line!r}")
        fields.append((field[1].lower(), field[2]))
    return fields


def canonical(stream: bytes) -> list[tuple[bytes, Message]]:
    """The only form in which a request may leave: single spaces, CRLF, one Host, one framing."""
    messages: list[tuple[bytes, Message]] = []
    while stream:
        head, end, stream = stream.partition(b"\r\n\r\n")
        if not end:
            raise AmbiguousError(f"a head that does not end: {head!r}")
        line = _LINE.fullmatch(head.partition(b"\r\n")[0])
        if line is None:
            raise AmbiguousError(f"request line {head[:200]!r}")
        fields = fields_of(head)
        names = [name for name, _ in fields]
        framing = [(n, v) for n, v in fields if n in (b"content-length", b"transfer-encoding")]
        if names.count(b"host") > 1 or len(framing) > 1:
            raise AmbiguousError(f"repeated Host or framing: {fields}")
        body: bytes | None = b""
        if framing and framing[0][0] == b"transfer-encoding":
            if framing[0][1] != b"chunked":
                raise AmbiguousError(f"coding {framing[0][1]!r}")
            body, stream = _chunks(stream)
        elif framing:
            if not re.fullmatch(rb"0|[1-9][0-9]*", framing[0][1]):
                raise AmbiguousError(f"length {framing[0][1]!r}")
            size = int(framing[0][1])
            body, stream = (stream[:size], stream[size:]) if len(stream) >= size else (None, b"")
        messages.append((head, Message(line[1], line[2], body)))
    return messages


def _chunks(stream: bytes) -> tuple[bytes | None, bytes]:
    body = b""
    while True:
        size, end, rest = stream.partition(b"\r\n")
        if not end:
            return None, b""
        if not _SIZE.fullmatch(size):
            raise AmbiguousError(f"chunk size {size!r}")
        count = int(size, 16)
        if len(rest) < count + 2:
            return None, b""
        if rest[count : count + 2] != b"\r\n":
            raise AmbiguousError("no CRLF after a chunk, or a trailer")
        body += rest[:count]
        stream = rest[count + 2 :]
        if count == 0:
            return body, stream


def by_h11(stream: bytes) -> list[Message]:
    messages: list[Message] = []
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(stream)
    method = target = body = b""
    begun = False
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            raise AmbiguousError(f"h11: {error}") from error
        if isinstance(event, h11.Request):
            method, target, body, begun = event.method, event.target, b"", True
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            messages.append(Message(method, target, body))
            begun = False
            connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                break  # Connection: close, or an upgrade asked for
            connection.start_next_cycle()
        else:
            break
    if begun:
        messages.append(Message(method, target, None))
    return messages


class _Llhttp:
    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.url = self.body = b""
        self.begun = False

    def on_message_begin(self) -> None:
        self.url = self.body = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_headers_complete(self) -> None:
        self.begun = True
        self.method: bytes = self.parser.get_method()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.begun = False
        self.messages.append(Message(self.method, self.url, self.body))

    def read(self, stream: bytes) -> list[Message]:
        self.parser = httptools.HttpRequestParser(self)
        try:
            self.parser.feed_data(stream)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError as error:
            raise AmbiguousError(f"llhttp: {error}") from error
        if self.begun:
            self.messages.append(Message(self.method, self.url, None))
        return self.messages


@cache
def _llhttp_knows(method: bytes) -> bool:
    try:
        httptools.HttpRequestParser(_Llhttp()).feed_data(method + b" / HTTP/1.1\r\n")
    except httptools.HttpParserInvalidMethodError:
        return False
    return True


def by_llhttp(stream: bytes) -> list[Message]:
    """llhttp refuses methods that are not in its list: in the request lines, as ``canonical`` finds
    them, PATCH stands for such. If it finds others, it fails or reads PATCH."""
    methods, at = [], 0
    for head, message in canonical(stream):
        at = stream.index(head, at)
        if not _llhttp_knows(message.method):
            stream = stream[:at] + b"PATCH" + stream[at + len(message.method) :]
            at += len(b"PATCH") - len(message.method)
            methods.append((message.method, b"PATCH"))
        else:
            methods.append((message.method, message.method))
        at += len(head)
    messages = _Llhttp().read(stream)
    if [message.method for message in messages] != [put for _, put in methods]:
        raise AmbiguousError(f"llhttp reads {messages}")
    return [
        message._replace(method=method)
        for message, (method, _) in zip(messages, methods, strict=True)
    ]


def lenient(stream: bytes) -> list[Message]:
    """A server that takes bare LF, white space anywhere, the last of several lengths, and any
    coding with "chunked" in it, which goes before a length."""
    messages: list[Message] = []
    while stream.strip():
        found = re.search(rb"\r?\n\r?\n", stream)
        if found is None:
            break
        lines = re.split(rb"\r?\n|\r", stream[: found.start()].lstrip())
        stream = stream[found.end() :]
        words = lines[0].split()
        method, target = words[0], words[1] if len(words) > 1 else b""
        size, chunked = 0, False
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            name = name.strip().lower().replace(b"_", b"-")
            if name == b"content-length" and (digits := re.search(rb"[0-9]+", value)):
                size = int(digits[0])
            elif name == b"transfer-encoding" and b"chunked" in value.lower():
                chunked = True
        body: bytes | None
        if chunked:
            body = b""
            while True:
                sized = re.match(rb"\s*([0-9A-Fa-f]+)[^\n]*\n", stream)
                if sized is None or len(stream) < sized.end() + int(sized[1], 16):
                    body, stream = None, b""
                    break
                count = int(sized[1], 16)
                body += stream[sized.end() : sized.end() + count]
                stream = stream[sized.end() + count :]
                stream = re.sub(rb"\A\r?\n", b"", stream)
                if count == 0:
                    break
        else:
            body, stream = (stream[:size], stream[size:]) if len(stream) >= size else (None, b"")
        messages.append(Message(method, target, body))
    return messages
