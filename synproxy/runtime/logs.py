"""The process's own log: one line per event on standard error, with journald's priorities."""

from __future__ import annotations

import logging
import os
import sys
from typing import Final

_PRIORITY: Final = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}


class _JournalFormatter(logging.Formatter):
    """Prefixes each line with its priority (sd-daemon(3)); journald adds time and name."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record).replace("\n", " | ")
        return f"<{_PRIORITY.get(record.levelno, 6)}>{text}"


def to_journal(descriptor: int) -> bool:
    """Whether what is written to ``descriptor`` arrives in the journal (systemd.exec(5),
    JOURNAL_STREAM). The variable alone says nothing: children of a unit inherit it, and may have
    another standard error."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


class Hush:
    """Keeps what anybody can cause from filling the log: one line in so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = -seconds
        self._unsaid = 0

    def more(self, now: float) -> str | None:
        """What to say of the lines that were left out, which may be nothing; None: leave this one
        out, too. ``now``: by any clock that does not jump."""
        if now < self._until:
            self._unsaid += 1
            return None
        more = f" ({self._unsaid} more since the last time)" if self._unsaid else ""
        self._until = now + self._seconds
        self._unsaid = 0
        return more


def set_up(level: int = logging.INFO) -> None:
    """Send the ``synproxy`` and ``asyncio`` loggers to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    if to_journal(2):
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(
            logging.Formatter("%(asctime)s [%(levelname)s] %(message)s", "%Y/%m/%d %H:%M:%S")
        )
    for name in ("synproxy", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level if name == "synproxy" else logging.WARNING)
        logger.propagate = False
