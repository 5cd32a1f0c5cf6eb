"""The lines of the access log: from one `ExchangeRecord` to one line of bytes.

Must not know files. Every format ends in a newline, contains no other, and is free of secrets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from time import gmtime, localtime
from typing import Literal

from synproxy.core.record import Attempt, ExchangeRecord
from synproxy.observe.redact import redact

Formatter = Callable[[ExchangeRecord], bytes]

_UNSAFE = bytes([*range(0x20), 0x22, 0x5C, *range(0x7F, 0x100)])
_UNSAFE_PATTERN = re.compile(b"[" + re.escape(_UNSAFE) + b"]")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def escape(value: bytes) -> str:
    r"""nginx ``log_format escape=default``: ``"``, ``\``, controls and bytes from 0x7F up become
    ``\xHH``; nothing at all becomes ``-``."""
    if not value:
        return "-"
    if len(value.translate(None, _UNSAFE)) == len(value):
        return value.decode("ascii")
    return _UNSAFE_PATTERN.sub(lambda match: b"\\x%02X" % match[0][0], value).decode("ascii")


@lru_cache(maxsize=1024)
def escape_name(name: str) -> str:
    """`escape` for names that come from the configuration, of which there are few."""
    return escape(name.encode("utf-8", "surrogateescape"))


@lru_cache(maxsize=4)
def time_local(second: int) -> str:
    """nginx ``$time_local``: ``24/Nov/2025:04:01:02 +0100``, in English whatever the locale."""
    t = localtime(second)
    sign = "-" if t.tm_gmtoff < 0 else "+"
    hours, minutes = divmod(abs(t.tm_gmtoff) // 60, 60)
    return (
        f"{t.tm_mday:02}/{_MONTHS[t.tm_mon - 1]}/{t.tm_year}"
        f":{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} {sign}{hours:02}{minutes:02}"
    )


@lru_cache(maxsize=4)
def _iso_second(second: int) -> str:
    t = gmtime(second)
    return f"{t.tm_year:04}-{t.tm_mon:02}-{t.tm_mday:02}T{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"


def request_line(record: ExchangeRecord) -> bytes:
    """nginx ``$request`` without secrets; a line that was not understood is what `target` holds."""
    target = redact(record.target)
    if record.method and record.version:
        return b"%b %b %b" % (record.method, target, record.version)
    return b" ".join(filter(None, (record.method, target, record.version)))


def _combined(record: ExchangeRecord) -> str:
    return (
        f"{escape(record.remote_addr)} - - [{time_local(int(record.started + record.duration))}]"
        f' "{escape(request_line(record))}" {record.status:03} {record.bytes_sent}'
        f' "{escape(redact(record.referer))}" "{escape(redact(record.user_agent))}"'
    )


def combined(record: ExchangeRecord) -> bytes:
    """nginx's predefined ``combined``; ``$remote_user`` is always ``-``: no credentials here."""
    return (_combined(record) + "\n").encode("ascii")


def _seconds(value: float) -> str:
    return "-" if value < 0 else f"{value:.3f}"


def _upstream(attempts: list[Attempt]) -> str:
    if len(attempts) == 1:
        server, status, connect, header, response = attempts[0]
        return (
            f'upstream="{escape_name(server)}" ustatus="{status or "-"}" uct="{_seconds(connect)}"'
            f' uht="{_seconds(header)}" urt="{_seconds(response)}"'
        )
    if not attempts:
        return 'upstream="-" ustatus="-" uct="-" uht="-" urt="-"'
    columns = list(zip(*attempts, strict=True))
    servers, statuses = map(escape_name, columns[0]), (str(status or "-") for status in columns[1])
    times = [", ".join(map(_seconds, column)) for column in columns[2:]]
    return (
        f'upstream="{", ".join(servers)}" ustatus="{", ".join(statuses)}"'
        f' uct="{times[0]}" uht="{times[1]}" urt="{times[2]}"'
    )


def combined_upstream(record: ExchangeRecord) -> bytes:
    """``combined`` and what nginx knows as ``$upstream_*``, ``$request_time``, ``$request_id``;
    several attempts are separated by a comma and a space, as there."""
    return (
        f"{_combined(record)} route={escape_name(record.route)} pool={escape_name(record.pool)}"
        f" {_upstream(record.attempts)} rt={record.duration:.3f}"
        f" id={escape(record.request_id)} end={escape_name(record.end_reason)}\n"
    ).encode("ascii")


_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _time_or_none(value: float) -> float | None:
    return None if value < 0 else round(value, 6)


def json_line(record: ExchangeRecord) -> bytes:
    r"""One JSON object with the same keys in the same order every time. Times are seconds; bytes
    that are not UTF-8 are written as ``\xhh``; what is unknown is ``""``, a time of it null."""
    milliseconds = int(record.started * 1000)
    line = {
        "time": f"{_iso_second(milliseconds // 1000)}.{milliseconds % 1000:03}Z",
        "remote_addr": _text(record.remote_addr),
        "scheme": _text(record.scheme),
        "host": _text(record.host),
        "method": _text(record.method),
        "target": _text(redact(record.target)),
        "version": _text(record.version),
        "status": record.status,
        "bytes_sent": record.bytes_sent,
        "bytes_received": record.bytes_received,
        "referer": _text(redact(record.referer)),
        "user_agent": _text(redact(record.user_agent)),
        "request_id": _text(record.request_id),
        "route": record.route,
        "pool": record.pool,
        "server": record.server,
        "attempts": [
            {
                "server": server,
                "status": status,
                "connect_time": _time_or_none(connect),
                "header_time": _time_or_none(header),
                "response_time": _time_or_none(response),
            }
            for server, status, connect, header, response in record.attempts
        ],
        "duration": round(record.duration, 6),
        "end_reason": record.end_reason,
    }
    return (_dumps(line) + "\n").encode("utf-8", "backslashreplace")


FORMATS: dict[Literal["combined", "combined_upstream", "json"], Formatter] = {
    "combined": combined,
    "combined_upstream": combined_upstream,
    "json": json_line,
}
