"""A line of the log gives back what nginx wrote into it."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest

from synproxy.nginx.access_log import COMBINED, MAX_LINE, LogFormat, lines, opened

LINE = '203.0.113.7 - - [25/Nov/2025:04:01:02 +0100] "GET /a?b=\\x22 HTTP/1.1" 200 5 "-" "An agent"'


def test_a_line_in_the_combined_format_is_read() -> None:
    assert LogFormat(COMBINED).read(LINE) == {
        "remote_addr": "203.0.113.7",
        "time_local": "25/Nov/2025:04:01:02 +0100",
        "request": 'GET /a?b=" HTTP/1.1',
        "status": "200",
        "body_bytes_sent": "5",
        "http_user_agent": "An agent",
    }


@pytest.mark.parametrize("line", ["", "nonsense", LINE + " more", LINE.replace('"GET', "GET")])
def test_a_line_of_another_format_is_not_read(line: str) -> None:
    assert LogFormat(COMBINED).read(line) is None


def test_a_list_of_servers_may_stand_between_spaces() -> None:
    log_format = LogFormat('"$request" $upstream_addr $status')
    found = log_format.read('"GET / HTTP/1.1" unix:/a, 127.0.0.1:1 : [::1]:2 200')
    assert found is not None
    assert found["upstream_addr"] == "unix:/a, 127.0.0.1:1 : [::1]:2"


@pytest.mark.parametrize(
    ("text", "message"),
    [("$status", "needs"), ("$request$status", "between"), ("$", "variable name")],
)
def test_a_format_that_cannot_be_read_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LogFormat(text)


@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_a_log_may_be_compressed(tmp_path: Path, pack: type[bytes]) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(pack(b"a\nb\n"))
    with opened(path) as stream:
        assert list(lines(stream)) == ["a", "b"]


def test_a_line_without_an_end_takes_bounded_memory() -> None:
    stream = io.BytesIO(b"x" * (3 * MAX_LINE) + b"\nnext\n")
    first, second = lines(stream)
    assert (len(first), second) == (MAX_LINE, "next")
