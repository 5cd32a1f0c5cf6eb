"""The configuration while it is written: plain YAML values that remember where they come from.

Must not know nginx.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import yaml

WIDTH = 100

_PLAIN = re.compile(r"[A-Za-z0-9_/$.][A-Za-z0-9_./:@$+-]*")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Said:
    """A value and a comment about it: after a scalar, above a collection."""

    value: object
    comment: str


def without_prefix(value: object, prefix: str) -> object:
    """The same tree with comments that leave ``prefix`` out where they begin with it."""
    if isinstance(value, Said):
        return Said(without_prefix(value.value, prefix), value.comment.removeprefix(prefix))
    if isinstance(value, Mapping):
        return {key: without_prefix(one, prefix) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [without_prefix(one, prefix) for one in value]
    return value


def free_name(wish: str, taken: Callable[[str], bool]) -> str:
    """``wish``, or with a number behind it."""
    name, number = wish, 2
    while taken(name):
        name, number = f"{wish}_{number}", number + 1
    return name


def comment(text: str, indent: str = "") -> list[str]:
    """``text`` as comment lines."""
    width = WIDTH - len(indent) - 2
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return [f"{indent}# {line}" for line in lines]


def lines(tree: Mapping[str, object], indent: str = "") -> Iterator[str]:
    """The lines of a block mapping."""
    for key, value in tree.items():
        yield from _entry(f"{_key(key)}:", value, indent)


def scalar(value: object) -> str:
    """A text, number or flag as YAML reads it back."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and not text.endswith(":") and yaml.safe_load(text) == text:
        return text
    if not all(character.isprintable() for character in text):
        return json.dumps(text)
    return "'" + text.replace("'", "''") + "'"


def _key(text: str) -> str:
    return text if _KEY.fullmatch(text) and yaml.safe_load(text) == text else scalar(text)


def _entry(label: str, value: object, indent: str) -> Iterator[str]:
    """One ``key: value`` or ``- value``; ``label`` is what stands before the value."""
    note = ""
    if isinstance(value, Said):
        note = value.comment
        value = value.value
    inner = indent + "  "
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str):
        if note:
            yield from comment(note, indent)
        if not value:
            yield f"{indent}{label} {'{}' if isinstance(value, Mapping) else '[]'}"
        elif label == "-":
            assert isinstance(value, Mapping)
            yield from _item(value, indent)
        elif isinstance(value, Mapping):
            yield f"{indent}{label}"
            yield from lines(value, inner)
        else:
            yield f"{indent}{label}"
            for one in value:
                yield from _entry("-", one, inner)
        return
    line = f"{indent}{label} {scalar(value)}"
    if not note:
        yield line
    elif len(line) + len(note) + 4 <= WIDTH or label == "-" or len(line) > WIDTH:
        yield f"{line}  # {note}"
    else:
        yield from comment(note, indent)
        yield line


def _item(value: Mapping[str, object], indent: str) -> Iterator[str]:
    """A mapping in a list: its first line carries the dash."""
    dash = "- "
    for line in lines(value, indent + "  "):
        if dash and not line.lstrip().startswith("#"):
            line, dash = indent + dash + line[len(indent) + 2 :], ""
        yield line
