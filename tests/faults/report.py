"""`docs/faults.md`: the matrix, as the tests hold it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.faults.requests import GET_1_0, KINDS, PUT_HUGE, UPLOAD, Kind
from tests.faults.table import FAULTS, Result

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "faults.md"

_COLUMNS: Final = (*KINDS, GET_1_0)
_SPECIAL: Final = (UPLOAD, PUT_HUGE)


def _table(rows: Iterable[Iterable[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    columns = lines[0].count(" | ") + 1
    return "\n".join([lines[0], "| " + " | ".join(["---"] * columns) + " |", *lines[1:]])


def _verdicts() -> str:
    rows: list[list[str]] = [["the server", *(kind.name for kind in _COLUMNS)]]
    for fault in FAULTS:
        cells = [_verdict(fault.results.get(kind)) for kind in _COLUMNS]
        if any(cells):
            rows.append([fault.name, *cells])
    return _table(rows)


def _uploads() -> str:
    rows: list[list[str]] = [["the server", "request", "result"]]
    rows += [
        [fault.name, kind.name, _verdict(result)]
        for fault in FAULTS
        for kind, result in fault.results.items()
        if kind in _SPECIAL
    ]
    return _table(rows)


def _verdict(result: Result | None) -> str:
    return result.verdict if result is not None else ""


def _results() -> str:
    """What each result means, once."""
    known: dict[tuple[str, ...], Result] = {}
    for fault in FAULTS:
        for kind, result in fault.results.items():
            seen = (_verdict(result), _client(kind, result), result.end, result.reason)
            known.setdefault(seen, result)
    rows: list[list[str]] = [
        ["result", "the client gets", "its connection", "status", "upstream", "ustatus", "end"]
    ]
    for (verdict, client, *_), result in known.items():
        servers, statuses = zip(*result.asked, strict=True)
        rows.append(
            [
                verdict,
                client,
                result.end,
                str(result.status),
                ", ".join(servers),
                ", ".join(str(status or "-") for status in statuses),
                result.reason,
            ]
        )
    return _table(rows)


def _client(kind: Kind, result: Result) -> str:
    head, _, body = result.client.partition(b"\r\n\r\n")
    start = head.split(b"\r\n")[0].partition(b" ")[2].decode()
    if result.verdict != "cut":
        whole = "Matrix JSON, with CORS" if b"errcode" in body else f"`{body.decode()}`"
        return f"{start}: {whole}"
    if kind is GET_1_0:
        return f"{start}, no length: {len(body)} bytes"
    framing = "a length" if b"Content-Length" in head else "chunks"
    return f"{start}, {framing}: {'a part' if body else 'nothing'} of the body"


def _words() -> str:
    return _table(
        [
            ["the server", "the log's first word"],
            *([fault.name, f"`{fault.word}`"] for fault in FAULTS if fault.word),
        ]
    )


def render() -> str:
    return f"""# When a server fails

Each line is a way in which a server failed, each column a request that met it. Written by
`make faults` from `tests/faults/table.py`; `tests/faults` plays every cell over real sockets, on
asyncio and on uvloop, and asserts the bytes that the client gets, how its connection goes on, the
line in the access log, the warning in the error log, which server is asked how often, and that
nothing is left: no client connection, no server connection but the idle one, no place taken on any
server. A second server of the pool is well. How requests are repeated is told in
[retries](retries.md); that nginx decides the same is asserted by `tests/differential`.

{_verdicts()}

Uploads that the client has not finished:

{_uploads()}

What the results mean. *closed* ends with FIN, *reset* with RST, for HTTP/1.0 knows an answer
without a length to be whole by FIN; behind *open* the client asks again on the same connection.
`ustatus` has a `-` for each attempt without an answer.

{_results()}

The error log has one line for each failed attempt:

{_words()}

Of an answer that was cut only the access log tells, by its `end`.

Elsewhere:

| what fails | where it is asserted |
| --- | --- |
| a child process is killed | `tests/process/test_child_killed.py`, `test_endurance.py` |
| servers restart, with `restart_hold` | `tests/integration/test_restarts*.py` |
| servers are ill, with `health_check` | `tests/integration/test_health_checks.py` |
| all servers are down and there is a `fallback` | `tests/integration/test_fallback.py` |
| the client leaves, stalls or is slow | `tests/integration/test_failures.py`, `test_streaming.py` |
| a tunnel ends or is silent | `tests/integration/test_streaming.py` |
| the certificate of a server is wrong | `tests/integration/test_upstream_tls.py` |
"""


def main() -> None:
    DOCUMENT.write_text(render())
    print(f"{DOCUMENT.name} written")
