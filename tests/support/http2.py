"""A client of HTTP/2 by the h2 library, without sockets; and frames by hand, for what no client
would send."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
from hpack import Encoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
Fields = Sequence[tuple[bytes, bytes]]

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE = range(6)
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(6, 10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITISED = 0x1, 0x1, 0x4, 0x8, 0x20


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """RFC 9113 section 4.1."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(*values: tuple[int, int], flags: int = 0) -> bytes:
    return frame(SETTINGS, flags, 0, b"".join(struct.pack(">HI", *one) for one in values))


def number(value: int) -> bytes:
    return struct.pack(">I", value)


def get(path: bytes = b"/", *more: tuple[bytes, bytes], method: bytes = b"GET") -> Fields:
    """The fields of a plain request."""
    return [
        (b":method", method),
        (b":scheme", b"http"),
        (b":authority", b"a.example"),
        (b":path", path),
        *more,
    ]


def block(fields: Fields) -> bytes:
    """A header block that leaves the dynamic table as it is."""
    return Encoder().encode([(name, value, True) for name, value in fields])


@dataclass
class Answer:
    """What has come on one stream."""

    status: int = 0
    fields: dict[bytes, bytes] = field(default_factory=dict)
    interim: list[int] = field(default_factory=list)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None


class Http2Client:
    """Its end of one connection. ``window``: bytes that it takes on a stream at first; with
    ``reads`` it gives back what it has read, as clients do."""

    def __init__(self, *, window: int = 65535, reads: bool = True) -> None:
        # What is outgoing is not checked, so that a test can say what it likes.
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.h2.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window,
            },
        )
        self.h2.initiate_connection()
        self.reads = reads
        self.answers: dict[int, Answer] = {}
        self.gone: tuple[int, int, bytes] | None = None
        """Code, last stream and reason of the last GOAWAY."""
        self.goaways: list[tuple[int, int]] = []
        self.pongs: list[bytes] = []
        self.acknowledged = 0

    def outgoing(self) -> bytes:
        return self.h2.data_to_send()

    def request(self, fields: Fields, body: bytes | None = None, *, end: bool = True) -> int:
        """Begin a request; ``end``: there is no more of it than ``body``. Gives its stream."""
        stream = self.h2.get_next_available_stream_id()
        self.answers[stream] = Answer()
        self.h2.send_headers(stream, list(fields), end_stream=end and body is None)
        if body is not None:
            self.h2.send_data(stream, body, end_stream=end)
        return stream

    def receive(self, data: bytes) -> None:
        """Bytes from the server; h2 raises ProtocolError if it breaks the rules."""
        for event in self.h2.receive_data(data):
            self._take(event)

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            assert event.error_code is not None
            assert event.last_stream_id is not None
            self.gone = int(event.error_code), event.last_stream_id, event.additional_data or b""
            self.goaways.append(self.gone[:2])
        elif isinstance(event, h2.events.PingAckReceived):
            self.pongs.append(event.ping_data or b"")
        elif isinstance(event, h2.events.SettingsAcknowledged):
            self.acknowledged += 1
        stream = getattr(event, "stream_id", None)
        answer = self.answers.get(stream) if stream else None
        if answer is None:
            return
        if isinstance(event, h2.events.InformationalResponseReceived):
            answer.interim.append(int(dict(event.headers or ())[b":status"]))
        elif isinstance(event, h2.events.ResponseReceived):
            answer.fields = {bytes(name): bytes(value) for name, value in event.headers or ()}
            answer.status = int(answer.fields.pop(b":status"))
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data or b""
            if self.reads and event.flow_controlled_length:
                assert stream
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = int(event.error_code or 0)
