"""Log formats of the administrator's own, written as nginx's ``log_format`` is.

Must not know files. A format is compiled once; its lines end in a newline, contain no other, and
are free of secrets: every variable that may hold one is masked before it is written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from time import localtime

from synproxy.config.variable_names import template_parts
from synproxy.core.record import Attempt, ExchangeRecord
from synproxy.core.redact import redact
from synproxy.observe.formats import Formatter, escape, request_line, seconds, time_local

_Read = Callable[[ExchangeRecord], str]
"""Text of bytes decoded as Latin-1; empty: there is none."""


def _ended(record: ExchangeRecord) -> float:
    return record.started + record.duration


def _iso8601(record: ExchangeRecord) -> str:
    t = localtime(int(_ended(record)))
    sign = "-" if t.tm_gmtoff < 0 else "+"
    hours, minutes = divmod(abs(t.tm_gmtoff) // 60, 60)
    return (
        f"{t.tm_year:04}-{t.tm_mon:02}-{t.tm_mday:02}T{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
        f"{sign}{hours:02}:{minutes:02}"
    )


def _target(record: ExchangeRecord) -> str:
    return redact(record.target.decode("latin-1"))


def _args(record: ExchangeRecord) -> str:
    return _target(record).partition("?")[2]


def _text(value: str) -> str:
    """A name from the configuration, as the other values are."""
    return value.encode("utf-8", "backslashreplace").decode("latin-1")


def _each(read: Callable[[Attempt], str]) -> _Read:
    """One value for each attempt, as nginx writes ``$upstream_*``."""
    return lambda record: ", ".join(map(read, record.attempts))


VARIABLES: dict[str, _Read] = {
    "args": _args,
    "body_bytes_received": lambda record: str(record.bytes_received),
    "body_bytes_sent": lambda record: str(record.bytes_sent),
    "end_reason": lambda record: _text(record.end_reason),
    "host": lambda record: record.host.decode("latin-1"),
    "http_referer": lambda record: redact(record.referer.decode("latin-1")),
    "http_user_agent": lambda record: redact(record.user_agent.decode("latin-1")),
    "msec": lambda record: f"{_ended(record):.3f}",
    "pool": lambda record: _text(record.pool),
    "query_string": _args,
    "remote_addr": lambda record: record.remote_addr.decode("latin-1"),
    "remote_user": lambda record: "",  # no credentials here
    "request": request_line,
    "request_id": lambda record: record.request_id.decode("latin-1"),
    "request_method": lambda record: record.method.decode("latin-1"),
    "request_time": lambda record: f"{record.duration:.3f}",
    "request_uri": _target,
    "route": lambda record: _text(record.route),
    "scheme": lambda record: record.scheme.decode("latin-1"),
    "server_protocol": lambda record: record.version.decode("latin-1"),
    "status": lambda record: f"{record.status:03}",
    "time_iso8601": _iso8601,
    "time_local": lambda record: time_local(int(_ended(record))),
    "upstream_addr": _each(lambda attempt: _text(attempt.server)),
    "upstream_connect_time": _each(lambda attempt: seconds(attempt.connect_time)),
    "upstream_header_time": _each(lambda attempt: seconds(attempt.header_time)),
    "upstream_response_time": _each(lambda attempt: seconds(attempt.response_time)),
    "upstream_status": _each(lambda attempt: str(attempt.status or "-")),
}
"""nginx's, and ``$route``, ``$pool``, ``$end_reason``, ``$body_bytes_received``."""


def _as_json(value: str) -> str:
    """nginx ``escape=json``; bytes that are not UTF-8 are written as ``\\xhh``."""
    text = value.encode("latin-1").decode("utf-8", "backslashreplace")
    return json.dumps(text, ensure_ascii=False)[1:-1]


def compiled(text: str, escaping: str) -> Formatter:
    """The formatter for a format. ``escaping``: ``default`` or ``json`` (nginx ``escape=``)."""
    parts: Sequence[_Read | str] = [
        VARIABLES[part] if is_name else part for part, is_name in template_parts(text)
    ]
    escaped = _as_json if escaping == "json" else escape

    def line(record: ExchangeRecord) -> bytes:
        made = "".join(part if isinstance(part, str) else escaped(part(record)) for part in parts)
        return made.encode("utf-8", "backslashreplace") + b"\n"

    return line
