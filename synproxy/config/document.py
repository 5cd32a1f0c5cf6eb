"""A YAML document as plain values, with the place of every key and value.

YAML 1.1 reads some words as something else than what is written (``NO``, ``0660``, ``1:30``);
those are problems here, never silently converted, except in files that are not ours (``foreign``).
Must not know what a configuration is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from synproxy.config.wording import cut, quoted
from synproxy.errors import ConfigError, Problem

MAX_DEPTH = 32
MAX_VALUES = 50_000
"""Values in a document after aliases are followed: what an alias bomb is stopped by."""

MAX_NODES = 2 * MAX_VALUES
"""Keys and values as written."""

LINE_BREAK = re.compile("\r\n|\r|\n")
Path = tuple[str | int, ...]
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?[0-9]{1,15}\.[0-9]{1,15}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NOT_TEXT = re.compile(  # what YAML forbids, and the line breaks that only YAML 1.1 knows
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_TRUE = {"yes", "true", "on"}


class Broken:
    """Stands for a value that was reported already."""

    __slots__ = ()


BROKEN = Broken()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key and its value stand, from 1; ``text`` is a scalar as written, without quotes."""

    key_line: int
    key_column: int
    line: int
    column: int
    text: str | None = None


@dataclass(slots=True)
class Document:
    """Values, their places by path, and what was wrong so far; broken paths need no more words."""

    file: str
    end: tuple[int, int] = (1, 1)
    value: object = BROKEN
    places: dict[Path, Place] = field(default_factory=dict)
    broken: set[Path] = field(default_factory=set)
    problems: dict[tuple[int, int, str], Problem] = field(default_factory=dict)

    def report(self, line: int, column: int, message: str, hint: str = "") -> None:
        """Note a mistake; the same one at the same place counts once."""
        if line > self.end[0]:  # libyaml puts the end of a file into a line of its own
            line, column = self.end
        problem = Problem(self.file, line, column, message, hint)
        self.problems.setdefault((line, column, message), problem)

    def at_value(self, path: Path, message: str, hint: str = "") -> None:
        """Note a mistake in the value at ``path``."""
        place = self.place(path)
        self.report(place.line, place.column, message, hint)

    def at_key(self, path: Path, message: str, hint: str = "") -> None:
        """Note a mistake in the key at ``path``."""
        place = self.place(path)
        self.report(place.key_line, place.key_column, message, hint)

    def place(self, path: Path) -> Place:
        """The place of ``path``, or of the nearest thing around it that is written."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places[path]

    def error(self) -> ConfigError:
        """Every mistake in the order of the file."""
        return ConfigError(sorted(self.problems.values(), key=lambda p: (p.line, p.column)))


def read(text: str, file: str, *, foreign: bool = False) -> Document:
    """Parse ``text``. Raises ConfigError for what leaves nothing to check, such as bad syntax.

    ``foreign``: the file is written for another program that takes YAML at its word, so ``0660`` is
    the number 432, ``~`` is None, and an empty file is an empty mapping.
    """
    lines = LINE_BREAK.split(text)
    document = Document(file, (len(lines), len(lines[-1]) + 1))
    try:
        _check_characters(text, document)
        _check_events(text, document)
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        document.report(*_explain(error, lines))
        raise document.error() from error
    if root is None and foreign:
        document.places[()] = Place(1, 1, 1, 1)
        document.value = {}
        return document
    if root is None:
        document.report(1, 1, "the file is empty", 'it needs at least "listeners"')
        raise document.error()
    document.places[()] = _place(root.start_mark, root)
    reader = _ForeignReader(document) if foreign else _Reader(document)
    document.value = reader.convert(root, (), 0)
    return document


def _check_characters(text: str, document: Document) -> None:
    if text.startswith("\ufeff"):
        document.report(1, 1, "the file starts with a byte order mark", "save it as UTF-8 without")
        raise document.error()
    if bad := _NOT_TEXT.search(text):
        above = LINE_BREAK.split(text[: bad.start()])
        document.report(
            len(above), len(above[-1]) + 1, f"the character U+{ord(bad[0]):04X} is not allowed"
        )
        raise document.error()


def _check_events(text: str, document: Document) -> None:
    """Bound depth and number before anything recurses over the document."""
    depth = documents = values = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        values += isinstance(event, yaml.NodeEvent)
        mark: Any = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        if depth > MAX_DEPTH:
            document.report(line, column, f"lists and mappings nest more than {MAX_DEPTH} deep")
        elif values > MAX_NODES:
            document.report(line, column, f"the file holds more than {MAX_NODES} keys and values")
        elif documents > 1:
            document.report(line, column, "a second document starts here", 'remove the "---"')
        else:
            continue
        raise document.error()


def _place(key: yaml.Mark, node: yaml.Node) -> Place:
    value = node.start_mark
    text = node.value if isinstance(node, yaml.ScalarNode) else None
    return Place(key.line + 1, key.column + 1, value.line + 1, value.column + 1, text)


class _Reader:
    """Turns nodes into values. Follows aliases, so the same node may be read at several paths."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._open: set[int] = set()
        self._values = 0

    def convert(self, node: yaml.Node, path: Path, depth: int) -> object:
        self._values += 1
        if self._values > MAX_VALUES or depth > MAX_DEPTH:
            self._report(node, "aliases make this document too large")
            raise self._document.error()
        if id(node) in self._open:
            return self._break(node, path, "this alias stands inside what it repeats")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
                return self._mapping(node, path, depth)
            if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
                return self._sequence(node, path, depth)
            if isinstance(node, yaml.ScalarNode):
                return self._scalar(node, path)
            return self._break(node, path, f"the tag {quoted(_tag(node))} is not supported")
        finally:
            self._open.discard(id(node))

    def _sequence(self, node: yaml.SequenceNode, path: Path, depth: int) -> list[object]:
        items: list[object] = []
        for index, item in enumerate(node.value):
            self._document.places[(*path, index)] = _place(item.start_mark, item)
            items.append(self.convert(item, (*path, index), depth + 1))
        return items

    def _mapping(self, node: yaml.MappingNode, path: Path, depth: int) -> dict[str, object]:
        values: dict[str, object] = {}
        own: dict[str, int] = {}
        merged: list[tuple[str, yaml.Node, yaml.Node]] = []
        for key_node, value_node in node.value:
            if key_node.tag == f"{_TAG}merge":
                merged.extend(self._merged(value_node, depth + 1))
                continue
            key = self._key(key_node, path)
            if key is None:
                continue
            if key in own:
                hint = f"it stands in line {own[key]} already"
                self._report(key_node, f"the key {quoted(key)} is written twice", hint)
                continue
            own[key] = key_node.start_mark.line + 1
            values[key] = self._member(path, key, key_node, value_node, depth)
        for key, key_node, value_node in merged:
            if key not in values:
                values[key] = self._member(path, key, key_node, value_node, depth)
        return values

    def _member(
        self, path: Path, key: str, key_node: yaml.Node, value_node: yaml.Node, depth: int
    ) -> object:
        self._document.places[(*path, key)] = _place(key_node.start_mark, value_node)
        return self.convert(value_node, (*path, key), depth + 1)

    def _merged(self, node: yaml.Node, depth: int) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        """The members that ``<<`` brings in; the first of several mappings wins."""
        self._values += 1
        if self._values > MAX_VALUES or depth > MAX_DEPTH:
            self._report(node, "aliases make this document too large")
            raise self._document.error()
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                yield from self._merged(item, depth + 1)
        elif isinstance(node, yaml.MappingNode):
            later = []
            for key_node, value_node in node.value:
                self._values += 1
                if key_node.tag == f"{_TAG}merge":
                    later.append(value_node)
                elif isinstance(key_node, yaml.ScalarNode):
                    yield key_node.value, key_node, value_node
            for value_node in later:
                yield from self._merged(value_node, depth + 1)
        else:
            self._report(node, 'expected a mapping after "<<"')

    def _key(self, node: yaml.Node, path: Path) -> str | None:
        """The key's text; what YAML reads as no text is reported, and its text used further on."""
        if not isinstance(node, yaml.ScalarNode):
            self._report(node, "a key must be a word, not a list or a mapping")
            return None
        text: str = node.value
        if node.tag in (f"{_TAG}str", f"{_TAG}value"):
            if _CONTROL.search(text):
                self._report(node, f"the key {quoted(text)} holds a control character")
        else:
            kind = _KINDS.get(node.tag, "something else")
            hint = f"quote it: {quoted(text)}" if text else 'write "" for an empty key'
            self._report(node, f"YAML reads the key {quoted(text)} as {kind}", hint)
            self._document.broken.add((*path, text))
        return text

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> object:
        text: str = node.value
        match node.tag.removeprefix(_TAG):
            case "str" | "value":
                return self._text(node, path)
            case "bool" if text.lower() in _WORDS:
                return text.lower() in _TRUE
            case "null" if not text:
                hint = 'remove the key, or write "" for an empty text'
                return self._break(node, path, "a value is missing here", hint)
            case "int" if _DECIMAL.fullmatch(text):
                return int(text)
            case "float" if _FLOAT.fullmatch(text):
                return float(text)
            case "int" | "float" | "bool" | "null" | "timestamp" | "merge":
                message = f"YAML reads {quoted(text)} as {_meaning(node)}"
                return self._break(node, path, message, f"quote it: {quoted(text)}")
            case _:
                return self._break(node, path, f"the tag {quoted(_tag(node))} is not supported")

    def _text(self, node: yaml.ScalarNode, path: Path) -> object:
        text: str = node.value
        if text.endswith("\n") and node.style in ("|", ">") and "\n" not in text[:-1]:
            hint = f'write "{node.style}-" instead of "{node.style}"'
            return self._break(node, path, "the text ends with a line break", hint)
        if _CONTROL.search(text):
            return self._break(node, path, f"the text {quoted(text)} holds a control character")
        return text

    def _break(self, node: yaml.Node, path: Path, message: str, hint: str = "") -> Broken:
        self._report(node, message, hint)
        self._document.broken.add(path)
        return BROKEN

    def _report(self, node: yaml.Node, message: str, hint: str = "") -> None:
        mark = node.start_mark
        self._document.report(mark.line + 1, mark.column + 1, message, hint)


class _ForeignReader(_Reader):
    """Takes every scalar for what YAML says it is."""

    def __init__(self, document: Document) -> None:
        super().__init__(document)
        self._constructor: Any = yaml.constructor.SafeConstructor()  # it remembers every node

    def _key(self, node: yaml.Node, path: Path) -> str | None:
        return node.value if isinstance(node, yaml.ScalarNode) else super()._key(node, path)

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> object:
        try:
            return self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError):
            return self._break(node, path, f"the value {quoted(node.value)} cannot be read")


_WORDS = {*_TRUE, "no", "false", "off"}
_KINDS = {
    f"{_TAG}bool": "on or off",
    f"{_TAG}int": "a number",
    f"{_TAG}float": "a number",
    f"{_TAG}null": "nothing",
    f"{_TAG}timestamp": "a date",
}


def _meaning(node: yaml.ScalarNode) -> str:
    """What YAML 1.1 makes of a plain word that does not mean itself."""
    text: str = node.value
    if node.tag == f"{_TAG}int" and len(text) < 20:
        if re.fullmatch(r"[-+]?0[0-7]+", text):
            return f"the octal number {int(text, 8)}"
        if re.fullmatch(r"[0-9]+(?::[0-5]?[0-9])+", text):
            number = 0
            for part in text.split(":"):
                number = number * 60 + int(part)
            return f"the number {number}, counted in sixties"
    return _KINDS.get(node.tag, "something else")


def _tag(node: yaml.Node) -> str:
    tag: str = node.tag
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag


_FIT = ("this does not fit the lines above", "check the indentation and the quotes")
_SYNTAX = {
    "mapping values are not allowed": (
        'a ":" is not expected here',
        'check the indentation, and quote texts that hold ": "',
    ),
    "did not find expected key": _FIT,
    "expected <block end>": _FIT,
    "did not find expected '-'": ('a list item starting with "-" is expected here', ""),
    "could not find expected ':'": ('a ":" is missing after this key', ""),
    "did not find expected ',' or ']'": ('a "," or a "]" is missing', ""),
    "did not find expected ',' or '}'": ('a "," or a "}" is missing', ""),
    "did not find expected node content": ("a value is missing here", ""),
    "found undefined alias": (
        "this alias repeats an anchor that is not defined above",
        'quote the text if it only starts with "*"',
    ),
}


def _explain(error: yaml.YAMLError, lines: list[str]) -> tuple[int, int, str, str]:
    """A syntax error in the words of people who write files: line, column, message, hint."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return 1, 1, "this is not YAML", ""
    mark = error.problem_mark or error.context_mark
    reason = error.problem or "this is not YAML"
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    if (
        "unexpected end of stream" in reason
        and error.context_mark
        and "scalar" in (error.context or "")
    ):
        start = error.context_mark
        return start.line + 1, start.column + 1, "this quote is never closed", ""
    if "cannot start any token" in reason:
        character = lines[line - 1][column - 1 : column] if line <= len(lines) else ""
        if character == "\t":
            return line, column, "a tab stands where spaces are expected", ""
        return line, column, f"a value cannot start with {quoted(character)}", "put it in quotes"
    for known, (message, hint) in _SYNTAX.items():
        if known in reason:
            return line, column, message, hint
    return line, column, f"not valid YAML: {cut(reason)}", ""
