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


def set_up(level: int = logging.INFO) -> None:
    """Send the ``synproxy`` and ``asyncio`` loggers to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    if "JOURNAL_STREAM" in os.environ:
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
