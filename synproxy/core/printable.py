"""Bytes and text of others for people: nothing in them moves a cursor or changes a colour."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` for a terminal: what could move the cursor or change colours is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def show(data: bytes) -> str:
    """Bytes of a request for a terminal."""
    return printable(data.decode("utf-8", "backslashreplace"))
