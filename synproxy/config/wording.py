"""How values and choices are shown in messages. Must not know what is reported, or where."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable

SHOWN = 64
"""Characters of a value that a message shows."""


def cut(text: str) -> str:
    """``text``, or its start when it is long."""
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def quoted(text: str) -> str:
    """``text`` in double quotes on one line, cut when it is long."""
    literal = json.dumps(cut(text), ensure_ascii=False)
    return literal if len(literal) <= SHOWN + 12 else literal[: SHOWN + 8] + '..."'


def shown(value: object) -> str:
    """A value for ``got ...``: texts in quotes, numbers bare, collections by their kind."""
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        return str(value)[:SHOWN]
    return quoted(str(value))


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """A hint with the nearest known name, or an empty one."""
    near = difflib.get_close_matches(name[:SHOWN], list(known), n=1, cutoff=0.6)
    return f"did you mean {quoted(prefix + near[0])}?" if near else ""


def one_of(choices: Iterable[str]) -> str:
    """``"a", "b" or "c"``."""
    words = [quoted(choice) for choice in choices]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]
