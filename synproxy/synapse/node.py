"""One value of one of Synapse's files, with its place: typed looks at it that report what is wrong.

Must not know which settings there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from synproxy.config.document import BROKEN, Document, Path
from synproxy.config.wording import quoted, shown


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands. What is absent, null or broken is no node at all."""

    document: Document
    path: Path
    value: object

    @property
    def file(self) -> str:
        return self.document.file

    @property
    def line(self) -> int:
        return self.document.place(self.path).line

    @property
    def place(self) -> str:
        """``file:line``, for messages about another place."""
        return f"{self.file}:{self.line}"

    def report(self, message: str, hint: str = "") -> None:
        """Note a mistake in this value."""
        self.document.at_value(self.path, message, hint)

    def report_key(self, message: str, hint: str = "") -> None:
        """Note a mistake in the key of this value."""
        self.document.at_key(self.path, message, hint)

    def get(self, key: str) -> Node | None:
        """The member of a mapping; None if this is no mapping or has no such member."""
        if not isinstance(self.value, dict):
            return None
        value = self.value.get(key)
        if value is None or value is BROKEN:
            return None
        return Node(self.document, (*self.path, key), value)

    def has(self, key: str) -> bool:
        """Whether the key is written, whatever its value."""
        return isinstance(self.value, dict) and key in self.value

    def mapping(self) -> bool:
        """Whether this is a mapping; if not, that is reported."""
        return self._is(dict, "a mapping")

    def members(self) -> Iterator[tuple[str, Node]]:
        """The members of a mapping."""
        if self.mapping() and isinstance(self.value, dict):
            for key in self.value:
                if (member := self.get(key)) is not None:
                    yield key, member

    def items(self) -> list[Node]:
        """The items of a list."""
        if not self._is(list, "a list") or not isinstance(self.value, list):
            return []
        return [
            Node(self.document, (*self.path, index), value)
            for index, value in enumerate(self.value)
            if value is not None and value is not BROKEN
        ]

    def text(self) -> str | None:
        """A text."""
        return self.value if self._is(str, "a text") and isinstance(self.value, str) else None

    def number(self) -> int | None:
        """A whole number."""
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            self._wanted("a whole number")
            return None
        return self.value

    def flag(self) -> bool:
        """true or false, as Synapse reads it."""
        if not isinstance(self.value, bool):
            self._wanted("true or false")
        return bool(self.value)

    def names(self) -> list[tuple[str, Node]]:
        """A text, or a list of texts."""
        nodes = [self] if isinstance(self.value, str) else self.items()
        return [(text, node) for node in nodes if (text := node.text()) is not None]

    def _is(self, kind: type, wanted: str) -> bool:
        if isinstance(self.value, kind):
            return True
        self._wanted(wanted)
        return False

    def _wanted(self, wanted: str) -> None:
        keys = [part for part in self.path if isinstance(part, str)]
        label = f"{keys[-1]}: " if keys else ""
        text = self.document.place(self.path).text
        got = shown(self.value) if text is None else quoted(text)
        self.report(f"{label}expected {wanted}, got {got}")


class Settings:
    """Several files read as one, as Synapse does: of a top-level key the last file's value counts.

    ``documents`` must not be empty.
    """

    def __init__(self, documents: Sequence[Document]) -> None:
        self._roots = [Node(document, (), document.value) for document in documents]

    @property
    def root(self) -> Node:
        """The first file, where what is missing is reported."""
        return self._roots[0]

    def get(self, key: str) -> Node | None:
        for root in reversed(self._roots):
            if root.has(key):
                return root.get(key)
        return None

    def flag(self, key: str, default: bool = False) -> bool:
        node = self.get(key)
        return default if node is None else node.flag()

    def text(self, key: str) -> str | None:
        node = self.get(key)
        return None if node is None else node.text()

    def names(self, key: str) -> list[str]:
        """What a setting lists: one name or several."""
        node = self.get(key)
        return [] if node is None else [name for name, _ in node.names()]
