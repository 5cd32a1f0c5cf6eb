"""The access log's file handling: batches, partial writes, full disks, reopening."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from synproxy.config import model
from synproxy.core.record import ExchangeRecord
from synproxy.observe import access_log
from synproxy.observe.access_log import FLUSH_SIZE, PENDING_LIMIT, AccessLog


def record(target: bytes = b"/") -> ExchangeRecord:
    return ExchangeRecord(
        remote_addr=b"192.0.2.1", method=b"GET", target=target, version=b"HTTP/1.1"
    )


def lines(path: Path) -> list[str]:
    return [line.split('"')[1] for line in path.read_text().splitlines()]


def open_log(path: Path | str) -> AccessLog:
    return AccessLog(model.AccessLog(path=str(path), format="combined"))


def test_a_line_waits_for_the_flush(tmp_path: Path) -> None:
    log = open_log(tmp_path / "a.log")
    log.write(record())
    assert lines(tmp_path / "a.log") == []
    log.flush()
    assert lines(tmp_path / "a.log") == ["GET / HTTP/1.1"]
    assert log.pending == 0


def test_many_lines_are_written_before_the_timer(tmp_path: Path) -> None:
    log = open_log(tmp_path / "a.log")
    while (tmp_path / "a.log").stat().st_size == 0:
        log.write(record())
        assert log.pending <= FLUSH_SIZE
    assert (tmp_path / "a.log").stat().st_size > FLUSH_SIZE


def test_a_batch_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(tmp_path / "a.log")
    sizes: list[int] = []
    real = os.write

    def counting(fd: int, data: bytes) -> int:
        sizes.append(len(data))
        return real(fd, data)

    monkeypatch.setattr(os, "write", counting)
    for _ in range(100):
        log.write(record())
    log.flush()
    assert sizes == [(tmp_path / "a.log").stat().st_size]


def test_partial_writes_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(tmp_path / "a.log")
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]))
    log.write(record(b"/1"))
    log.write(record(b"/2"))
    log.flush()
    assert lines(tmp_path / "a.log") == ["GET /1 HTTP/1.1", "GET /2 HTTP/1.1"]


def test_a_full_disk_costs_lines_and_no_exchange(caplog: pytest.LogCaptureFixture) -> None:
    log = open_log("/dev/full")
    for _ in range(3):
        log.write(record())
    log.flush()
    log.write(record())
    log.flush()
    assert log.dropped == 4
    assert log.pending == 0
    assert [entry.getMessage() for entry in caplog.records] == [
        "access log /dev/full: No space left on device; lines are lost"
    ]


def test_a_line_torn_by_a_full_disk_does_not_run_into_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(tmp_path / "a.log")
    real = os.write
    room = [30]

    def nearly_full(fd: int, data: bytes) -> int:
        if room[0] == 0:
            raise OSError(28, "No space left on device")
        written = real(fd, data[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr(os, "write", nearly_full)
    log.write(record(b"/torn"))
    log.flush()
    log.write(record(b"/lost"))
    log.flush()
    assert log.dropped == 2
    room[0] = 10_000
    log.write(record(b"/whole"))
    log.flush()
    torn, whole = (tmp_path / "a.log").read_text().splitlines()
    assert len(torn) == 30
    assert whole.startswith("192.0.2.1 - - [")
    assert '"GET /whole HTTP/1.1"' in whole


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_reader_that_does_not_read_blocks_nothing(
    blocking: bool, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = pipe
    os.set_blocking(writing, blocking)
    monkeypatch.setattr(access_log, "_STDOUT", writing)
    log = open_log("-")
    count = 0
    while not log.dropped:
        log.write(record(b"/" + b"x" * 500))
        count += 1
    assert log.pending <= PENDING_LIMIT
    assert fcntl.ioctl(reading, 0x541B, b"\0\0\0\0") != b"\0\0\0\0"  # FIONREAD: some got through

    received = b""
    os.set_blocking(reading, False)
    while log.pending:
        received += os.read(reading, 1 << 20)
        log.flush()
    received += os.read(reading, 1 << 20)
    assert received.count(b"\n") == count - log.dropped
    assert received.endswith(b'"-" "-"\n')


def test_a_reader_that_went_away_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setattr(access_log, "_STDOUT", writing)
    log = open_log("-")
    os.close(reading)
    log.write(record())
    log.close()
    assert log.dropped == 1
    os.close(writing)


def test_reopen_writes_to_a_new_file_and_loses_nothing(tmp_path: Path) -> None:
    log = open_log(tmp_path / "a.log")
    log.write(record(b"/before"))
    (tmp_path / "a.log").rename(tmp_path / "a.log.1")
    log.write(record(b"/moved"))
    log.reopen()
    log.write(record(b"/after"))
    log.close()
    assert lines(tmp_path / "a.log.1") == ["GET /before HTTP/1.1", "GET /moved HTTP/1.1"]
    assert lines(tmp_path / "a.log") == ["GET /after HTTP/1.1"]


def test_a_reopen_that_fails_keeps_the_old_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "logs").mkdir()
    log = open_log(tmp_path / "logs" / "a.log")
    (tmp_path / "logs").rename(tmp_path / "moved")
    log.reopen()
    log.write(record(b"/still"))
    log.close()
    assert lines(tmp_path / "moved" / "a.log") == ["GET /still HTTP/1.1"]
    assert "cannot reopen: No such file or directory" in caplog.text


def test_off_formats_and_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log("off")
    log.write(record())
    assert log.pending == 0
    log.reopen()
    log.close()


def test_after_close_write_does_nothing(tmp_path: Path) -> None:
    log = open_log(tmp_path / "a.log")
    log.close()
    log.write(record())
    log.flush()
    log.close()
    assert lines(tmp_path / "a.log") == []


def test_the_file_is_not_for_everybody(tmp_path: Path) -> None:
    open_log(tmp_path / "a.log").close()
    assert (tmp_path / "a.log").stat().st_mode & 0o007 == 0


def test_a_directory_that_does_not_exist_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_log(tmp_path / "missing" / "a.log")
