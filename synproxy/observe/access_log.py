"""The access log: collects lines in memory and writes them out in large pieces.

Must not know asyncio (the child calls `flush` from its timer) nor what a line means. A full disk,
a stuck pipe or a vanished reader costs lines, which are counted, and never an exchange.
"""

from __future__ import annotations

import logging
import os
import select
import stat

from synproxy.config import model
from synproxy.core.record import ExchangeRecord
from synproxy.observe.formats import FORMATS, Formatter
from synproxy.observe.log_format import compiled

FLUSH_SIZE = 64 * 1024
"""Pending bytes at which `write` flushes by itself (nginx ``access_log ... buffer=``)."""

PENDING_LIMIT = 1 << 20
"""Pending bytes that a reader who does not read may pile up; what comes after is dropped."""

_PIPE_WRITE = 4096
"""A pipe or socket that polls as writable takes this much without blocking (pipe(7), PIPE_BUF)."""

_STDOUT = 1
_NEWLINE = 0x0A
_logger = logging.getLogger(__name__)


class AccessLog:
    """One log and its file descriptor. `dropped` counts lines that could not be written.

    Opening raises OSError; no method that runs later raises.
    """

    __slots__ = (
        "_failing",
        "_fd",
        "_flush_at",
        "_format",
        "_inside_line",
        "_owned",
        "_path",
        "_pending",
        "_regular",
        "_sample",
        "_size",
        "_unlogged",
        "dropped",
    )

    def __init__(self, settings: model.AccessLog) -> None:
        self._path = settings.path
        self._format: Formatter = FORMATS.get(settings.format) or compiled(
            settings.format, settings.escape
        )
        self._sample = settings.sample
        self._unlogged: dict[str, int] = {}  # by route, since the last line of it
        self._pending: list[bytes] = []
        self._size = 0
        self._flush_at = FLUSH_SIZE
        self._inside_line = False  # the file ends inside a line
        self._failing = False
        self.dropped = 0
        self._owned = settings.path not in ("-", "off")
        self._fd: int | None = None
        if settings.path == "-":
            self._fd = _STDOUT
        elif self._owned:
            self._fd = _open(settings.path)
        self._regular = self._fd is not None and _is_regular(self._fd)

    @property
    def pending(self) -> int:
        """Bytes not yet written."""
        return self._size

    def write(self, record: ExchangeRecord) -> None:
        """Add the line of `record`, unless another one stands for it (``sample``); it reaches the
        file at the next `flush`."""
        if self._fd is None or (self._sample > 1 and self._left_out(record)):
            return
        line = self._format(record)
        if self._size + len(line) > PENDING_LIMIT:
            self.dropped += 1
            return
        self._pending.append(line)
        self._size += len(line)
        if self._size > self._flush_at:
            self.flush()

    def _left_out(self, record: ExchangeRecord) -> bool:
        """Counted, not by chance: the first request of each route is there, however rare."""
        if (
            record.status >= 400
            or record.end_reason not in ("ok", "local")
            or len(record.attempts) > 1
        ):
            return False
        before = self._unlogged.get(record.route, self._sample - 1)
        if before < self._sample - 1:
            self._unlogged[record.route] = before + 1
            return True
        self._unlogged[record.route] = 0
        return False

    def flush(self) -> None:
        """Write what is pending. What a slow reader does not take now stays for the next flush."""
        if not self._pending or self._fd is None:
            return
        data = b"".join(self._pending)
        try:
            written = self._write(self._fd, data)
        except OSError as error:
            self._give_up(data, error)
            return
        self._failing = False
        if written:
            self._inside_line = data[written - 1] != _NEWLINE
        self._keep(data[written:])

    def _write(self, fd: int, data: bytes) -> int:
        """Write as much of `data` as goes without blocking; how much that was."""
        view = memoryview(data)
        step = len(data) if self._regular else _PIPE_WRITE
        written = 0
        try:
            while written < len(data) and (self._regular or _takes_more(fd)):
                # Other processes write, too: whole lines, as far as a pipe takes them at once.
                end = written + step
                if end < len(data):
                    end = data.rfind(b"\n", written, end) + 1 or end
                written += os.write(fd, view[written:end])
        except BlockingIOError:
            pass
        except OSError:
            if not written:
                raise
            # The rest meets the same error at the next flush, and is counted there.
        return written

    def _give_up(self, data: bytes, error: OSError) -> None:
        """Drop `data`; a line that is half in the file already gets an end of its own."""
        if not self._failing:
            _logger.error("access log %s: %s; lines are lost", self._path, error.strerror)
        self._failing = True
        self.dropped += data.count(b"\n") - (data[0] == _NEWLINE)
        self._keep(b"\n" if self._inside_line else b"")

    def _keep(self, rest: bytes) -> None:
        self._pending = [rest] if rest else []
        self._size = len(rest)
        self._flush_at = len(rest) + FLUSH_SIZE

    def reopen(self) -> None:
        """Open the path anew (nginx's USR1, after logrotate); if that fails the old file stays."""
        if not self._owned or self._fd is None:
            return
        self.flush()
        try:
            fd = _open(self._path)
        except OSError as error:
            _logger.error("access log %s: cannot reopen: %s", self._path, error.strerror)
            return
        os.close(self._fd)
        self._fd, self._regular, self._inside_line = fd, _is_regular(fd), False

    def close(self) -> None:
        """Flush and close; `write` does nothing from here on."""
        self.flush()
        self.dropped += b"".join(self._pending).count(b"\n")
        self._keep(b"")
        if self._owned and self._fd is not None:
            os.close(self._fd)
        self._fd = None


def _open(path: str) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
    return os.open(path, flags, 0o640)


def _is_regular(fd: int) -> bool:
    return stat.S_ISREG(os.fstat(fd).st_mode)


def _takes_more(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))
