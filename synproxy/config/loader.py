"""From a YAML file to a ``Config``, or to every mistake in it at once, each with its place.

Must not know YAML's traps (``document``) or which names must exist (``references``).
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError

from synproxy.config import document as yaml_document
from synproxy.config.document import Document
from synproxy.config.model import Config, Section
from synproxy.config.references import check_references
from synproxy.config.tls_checks import check_tls
from synproxy.config.wording import did_you_mean, one_of, quoted, shown
from synproxy.errors import ConfigError, Problem

MAX_FILE_SIZE = 1 << 20
"""Bytes; the seed's whole setup has under 16 KiB."""

CONNECTION_UPGRADE = {"source": "$http_upgrade", "values": {"": ""}, "default": "upgrade"}
"""The map behind the default ``Connection`` field. An empty value keeps server connections open,
where nginx's own example (``close``) ends them after each request."""


def load(path: Path | str, *, files: bool = False) -> Config:
    """Read the configuration file at ``path``; ``files``: also the certificates that it names.
    Raises ConfigError with every problem."""
    return loads(read_text(path), str(path), files=files)


def read_text(path: Path | str) -> str:
    """The file at ``path``, which is UTF-8 and of bounded size. Raises ConfigError."""
    file = str(path)
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(MAX_FILE_SIZE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError([Problem(file, 1, 1, f"the file cannot be read: {reason}")]) from error
    return _decode(data, file)


def _decode(data: bytes, file: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError([Problem(file, 1, 1, "the file is UTF-16", "save it as UTF-8")])
    _check_size(len(data), file)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        above = yaml_document.LINE_BREAK.split(data[: error.start].decode())
        message = f"the byte 0x{data[error.start]:02x} is not UTF-8"
        problem = Problem(file, len(above), len(above[-1]) + 1, message, "save the file as UTF-8")
        raise ConfigError([problem]) from error


def _check_size(size: int, file: str) -> None:
    if size > MAX_FILE_SIZE:
        message = f"the file is larger than {MAX_FILE_SIZE} bytes"
        raise ConfigError([Problem(file, 1, 1, message)])


def loads(text: str, file: str, *, files: bool = False) -> Config:
    """Read a configuration from ``text``; ``file`` is the name in messages, ``files`` as above.
    Raises ConfigError."""
    _check_size(len(text), file)
    document = yaml_document.read(text, file)
    tree = document.value
    if not isinstance(tree, dict):
        if not document.problems:
            document.at_value((), f'expected keys such as "listeners:", got {_got(document, ())}')
        raise document.error()
    _add_connection_upgrade(tree)
    config = None
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        for mistake in error.errors(include_url=False):
            _report(document, typing.cast("dict[str, Any]", mistake))
    check_references(document)
    check_tls(document, files=files)
    if document.problems or config is None:
        raise document.error()
    return config


def _add_connection_upgrade(tree: dict[str, Any]) -> None:
    maps = tree.setdefault("maps", {})
    if isinstance(maps, dict):
        maps.setdefault("connection_upgrade", CONNECTION_UPGRADE)


def _report(document: Document, mistake: dict[str, Any]) -> None:
    """One of pydantic's errors as a problem, unless its value was reported as broken before."""
    loc = tuple(mistake["loc"])
    path = _written(document, loc)
    if any(path[:end] in document.broken for end in range(len(path) + 1)):
        return
    name = str(loc[-1]) if loc else ""
    match mistake["type"]:
        case "extra_forbidden":
            hint = _unknown_key_hint(name, loc)
            document.at_key(path, f"unknown key {quoted(name)}", hint)
        case "missing":
            document.at_key(path, f"{quoted(name)} is missing{_inside(path)}")
        case "too_short" if mistake["input"]:
            return  # its items were reported one by one
        case "too_short":
            document.at_value(path, f"{_label(path)}at least one is needed")
        case kind:
            hint = ""
            if kind == "string_type" and isinstance(mistake["input"], bool | int | float):
                text = document.place(path).text or ""
                hint = f"quote it: {quoted(text)}"
            message = f"{_label(path)}{_expected(mistake)}, got {_got(document, path)}"
            document.at_value(path, message, hint)


_WANTED = {
    "string_type": "expected a text",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "tuple_type": "expected a list",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
}


def _expected(mistake: dict[str, Any]) -> str:
    context = mistake.get("ctx") or {}
    match mistake["type"]:
        case "value_error":
            return str(context["error"])
        case "greater_than_equal":
            return f"expected a whole number, not less than {context['ge']}"
        case "less_than_equal":
            return f"expected a whole number, not more than {context['le']}"
        case "literal_error":
            return f"expected {one_of(_literals(mistake['loc']))}"
        case kind:
            return _WANTED.get(kind, "expected something else")


def _got(document: Document, path: tuple[str | int, ...]) -> str:
    text = document.place(path).text
    if text is not None:
        return quoted(text)
    value: Any = document.value
    for part in path:
        value = value[part]
    return shown(value)


def _label(path: tuple[str | int, ...]) -> str:
    """The nearest key, as a prefix of the message."""
    for part in reversed(path):
        if isinstance(part, str):
            return f"{part if part.isidentifier() else quoted(part)}: "
    return ""


def _inside(path: tuple[str | int, ...]) -> str:
    if not path:
        return ""
    *_, label = (part for part in path if isinstance(part, str))
    return f" in {quoted(label)}" if isinstance(path[-1], str) else f" in this item of {label}"


def _written(document: Document, loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """The part of pydantic's location that stands in the file.

    Short forms (a bare address for ``address:``) and the names of alternatives do not.
    """
    path: tuple[str | int, ...] = ()
    for part in loc:
        if (*path, part) in document.places:
            path = (*path, part)
    return path


def _unknown_key_hint(name: str, loc: tuple[str | int, ...]) -> str:
    here = {key for section in _sections(Config, loc[:-1]) for key in section.model_fields}
    if hint := did_you_mean(name, here):
        return hint
    for prefix in ("proxy_", "gzip_"):
        if name.startswith(prefix) and name.removeprefix(prefix) in here:
            return f"did you mean {quoted(name.removeprefix(prefix))}?"
    for key, field in Config.model_fields.items():
        for section in _sections(field.annotation, ()):
            for spelling in (name, name.removeprefix("proxy_").removeprefix("gzip_")):
                if spelling in section.model_fields:
                    return f"{quoted(spelling)} belongs in {quoted(key)}"
    return f"expected {one_of(sorted(here))}" if here else ""


def _sections(annotation: Any, parts: tuple[str | int, ...]) -> Iterator[type[Section]]:
    """The sections that ``parts`` lead to from ``annotation``: one, or several alternatives."""
    origin = get_origin(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        if not parts:
            yield annotation
        elif parts[0] in annotation.model_fields:
            yield from _sections(annotation.model_fields[str(parts[0])].annotation, parts[1:])
    elif origin is typing.Annotated:
        yield from _sections(get_args(annotation)[0], parts)
    elif origin in (Union, UnionType):
        for choice in get_args(annotation):
            skip = 1 if parts and str(parts[0]).startswith("<") else 0
            yield from _sections(choice, parts[skip:])
    elif origin is dict and parts:
        yield from _sections(get_args(annotation)[1], parts[1:])
    elif origin is tuple and parts:
        yield from _sections(get_args(annotation)[0], parts[1:])


def _literals(loc: tuple[str | int, ...]) -> list[str]:
    """The words that may stand at ``loc``."""
    names = [part for part in loc if isinstance(part, str) and not part.startswith("<")]
    owner = loc[: len(loc) - 1 - loc[::-1].index(names[-1])]
    for section in _sections(Config, owner):
        if names[-1] in section.model_fields:
            return list(_words(section.model_fields[names[-1]].annotation))
    return []


def _words(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif not isinstance(annotation, type):
        for argument in get_args(annotation):
            if argument is not ...:
                yield from _words(argument)
