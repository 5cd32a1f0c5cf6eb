"""HTML out of small functions, in which whatever is no HTML yet is escaped.

Must not know what is shown.
"""

from __future__ import annotations

from html import escape
from typing import Final


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


_VOID: Final = frozenset({"br", "input", "meta", "link"})


def el(name: str, /, *children: object, **attributes: object) -> Html:
    """An element. Of its ``attributes`` those that are None or False are left out, and True is one
    without a value; a trailing underscore is dropped, others become hyphens."""
    written = "".join(
        f" {_attribute(key)}" if value is True else f' {_attribute(key)}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: object) -> Html:
    """Pieces one after the other; None is nothing, lists and tuples are their items."""
    return Html("".join(map(_piece, children)))


def _piece(child: object) -> str:
    if isinstance(child, Html):
        return child
    if child is None:
        return ""
    if isinstance(child, list | tuple):
        return join(*child)
    return escape(str(child))


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")
