"""The lines of the access log: from one `ExchangeRecord` to one line of bytes.

Must not know files. Every format ends in a newline, contains no other, and is free of secrets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from time import gmtime, localtime

from synproxy.core.record import Attempt, ExchangeRecord
from synproxy.core.redact import redact

Formatter = Callable[[ExchangeRecord], bytes]

_UNSAFE = bytes([*range(0x20), 0x22, 0x5C, *range(0x7F, 0x100)])
_UNSAFE_PATTERN = re.compile(r'[\x00-\x1f"\\\x7f-\xff]')
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def escape(value: str) -> str:
    r"""nginx ``log_format escape=default`` of bytes decoded as Latin-1: ``"``, ``\``, controls and
    bytes from 0x7F up become ``\xHH``; nothing at all becomes ``-``."""
    return _UNSAFE_PATTERN.sub(lambda match: f"\\x{ord(match[0]):02X}", value) or "-"


@lru_cache(maxsize=1024)
def escape_name(name: str) -> str:
    """`escape` for names that come from the configuration, of which there are few."""
    return escape(name.encode("utf-8", "backslashreplace").decode("latin-1"))


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


def _client(record: ExchangeRecord) -> tuple[str, str, str, str, str]:
    """remote address, request line, referer, user agent and request id, redacted and escaped.

    One pass over all of them finds that nothing needs escaping, which is nearly always so.
    """
    values = b"\n".join(
        (
            record.remote_addr,
            record.request_id,
            record.method,
            record.target,
            record.version,
            record.referer,
            record.user_agent,
        )
    )
    if len(values.translate(None, _UNSAFE)) == len(values) - 6:
        address, request_id, method, target, version, referer, agent = values.decode().split("\n")
        if not method or not version:
            request = request_line(record)
        else:
            request = f"{method} {redact(target)} {version}"
        return (
            address or "-",
            request,
            redact(referer) if referer else "-",
            redact(agent) if agent else "-",
            request_id or "-",
        )
    return (
        escape(record.remote_addr.decode("latin-1")),
        escape(request_line(record)),
        escape(redact(record.referer.decode("latin-1"))),
        escape(redact(record.user_agent.decode("latin-1"))),
        escape(record.request_id.decode("latin-1")),
    )


def request_line(record: ExchangeRecord) -> str:
    """nginx ``$request``; what was not understood is logged as it came, in `target`."""
    target = redact(record.target.decode("latin-1"))
    words = (record.method.decode("latin-1"), target, record.version.decode("latin-1"))
    return " ".join(filter(None, words)) or "-"


def combined(record: ExchangeRecord) -> bytes:
    """nginx's predefined ``combined``; ``$remote_user`` is always ``-``: no credentials here."""
    address, request, referer, agent, _ = _client(record)
    return (
        f"{address} - - [{time_local(int(record.started + record.duration))}]"
        f' "{request}" {record.status:03} {record.bytes_sent} "{referer}" "{agent}"\n'
    ).encode("ascii")


@lru_cache(maxsize=1024)
def _route_and_pool(route: str, pool: str) -> str:
    return f" route={escape_name(route)} pool={escape_name(pool)}"


def seconds(value: float) -> str:
    """nginx's way of writing a time; ``-`` for one that was not reached."""
    return "-" if value < 0 else f"{value:.3f}"


def _upstream(attempts: list[Attempt]) -> str:
    if len(attempts) == 1:
        server, status, connect, header, response = attempts[0]
        if status and connect >= 0 and header >= 0 and response >= 0:
            return (
                f'upstream="{escape_name(server)}" ustatus="{status}" uct="{connect:.3f}"'
                f' uht="{header:.3f}" urt="{response:.3f}"'
            )
        return (
            f'upstream="{escape_name(server)}" ustatus="{status or "-"}" uct="{seconds(connect)}"'
            f' uht="{seconds(header)}" urt="{seconds(response)}"'
        )
    if not attempts:
        return 'upstream="-" ustatus="-" uct="-" uht="-" urt="-"'
    columns = list(zip(*attempts, strict=True))
    servers, statuses = map(escape_name, columns[0]), (str(status or "-") for status in columns[1])
    times = [", ".join(map(seconds, column)) for column in columns[2:]]
    return (
        f'upstream="{", ".join(servers)}" ustatus="{", ".join(statuses)}"'
        f' uct="{times[0]}" uht="{times[1]}" urt="{times[2]}"'
    )


def combined_upstream(record: ExchangeRecord) -> bytes:
    """``combined`` and what nginx knows as ``$upstream_*``, ``$request_time``, ``$request_id``;
    several attempts are separated by a comma and a space, as there."""
    address, request, referer, agent, request_id = _client(record)
    return (
        f"{address} - - [{time_local(int(record.started + record.duration))}]"
        f' "{request}" {record.status:03} {record.bytes_sent} "{referer}" "{agent}"'
        f"{_route_and_pool(record.route, record.pool)} {_upstream(record.attempts)}"
        f" rt={record.duration:.3f} id={request_id} end={escape_name(record.end_reason)}\n"
    ).encode("ascii")


_quoted = json.encoder.encode_basestring


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _json_attempt(attempt: Attempt) -> str:
    server, status, *times = attempt
    connect, header, response = ("null" if t < 0 else repr(round(t, 6)) for t in times)
    return (
        f'{{"server":{_quoted(server)},"status":{status},"connect_time":{connect}'
        f',"header_time":{header},"response_time":{response}}}'
    )


def json_line(record: ExchangeRecord) -> bytes:
    r"""One JSON object with the same keys in the same order every time. Times are seconds; bytes
    that are not UTF-8 are written as ``\xhh``; what is unknown is ``""``, a time of it null."""
    milliseconds = int(record.started * 1000)
    return (
        f'{{"time":"{_iso_second(milliseconds // 1000)}.{milliseconds % 1000:03}Z"'
        f',"remote_addr":{_quoted(_text(record.remote_addr))}'
        f',"scheme":{_quoted(_text(record.scheme))}'
        f',"host":{_quoted(_text(record.host))}'
        f',"method":{_quoted(_text(record.method))}'
        f',"target":{_quoted(redact(_text(record.target)))}'
        f',"version":{_quoted(_text(record.version))}'
        f',"status":{record.status}'
        f',"bytes_sent":{record.bytes_sent}'
        f',"bytes_received":{record.bytes_received}'
        f',"referer":{_quoted(redact(_text(record.referer)))}'
        f',"user_agent":{_quoted(redact(_text(record.user_agent)))}'
        f',"request_id":{_quoted(_text(record.request_id))}'
        f',"route":{_quoted(record.route)}'
        f',"pool":{_quoted(record.pool)}'
        f',"server":{_quoted(record.server)}'
        f',"attempts":[{",".join(map(_json_attempt, record.attempts))}]'
        f',"duration":{round(record.duration, 6)!r}'
        f',"end_reason":{_quoted(record.end_reason)}}}\n'
    ).encode("utf-8", "backslashreplace")


FORMATS: dict[str, Formatter] = {
    "combined": combined,
    "combined_upstream": combined_upstream,
    "json": json_line,
}
