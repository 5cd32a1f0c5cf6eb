"""An explanation as aligned text on a terminal."""

from __future__ import annotations

from typing import Any, TextIO

from synproxy.cli.terminal import Paint, table, width
from synproxy.explain.rows import rows


def print_explanation(explanation: dict[str, Any], stream: TextIO) -> None:
    paint = Paint(stream)
    limit = width(stream)
    for line in table([(label.ljust(8), text) for label, text in rows(explanation)], limit):
        label = line[:8]
        print(paint(label, "dim") + line[8:], file=stream)
