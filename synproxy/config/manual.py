"""The configuration reference as Markdown, made from the model: for docs/ and synproxy.yaml(5).

``python -m synproxy.config.manual`` prints it. Must not know Sphinx. What it says of a field is
its docstring, its type in the words of the file, its default as one would write it, and nginx's
directive of the same meaning.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from synproxy.config import model
from synproxy.config.units import parse_duration, parse_interval, parse_size

_UNIT_OF_PARSER: dict[object, str] = {
    parse_duration: "duration",
    parse_interval: "duration above 0",
    parse_size: "size",
}
_UNIT_OF_TYPE = {str: "text", int: "number", float: "number", bool: "on or off", Any: "anything"}

_NGINX_PREFIX: dict[type[model.Section], str] = {
    model.ProxySettings: "proxy_",
    model.ProxyOverrides: "proxy_",
    model.Gzip: "gzip_",
}
"""Sections whose fields are nginx's directives of that name, with this before it."""

_OURS_ALONE: dict[type[model.Section], frozenset[str]] = {
    model.Http: frozenset({"max_header_count", "gzip", "zstd", "brotli", "cors_preflight"}),
    model.ProxySettings: frozenset({"deadline_margin", "client_max_body_size"}),
    model.ProxyOverrides: frozenset({"deadline_margin", "client_max_body_size"}),
    model.Gzip: frozenset({"enabled"}),
}
"""Sections that are named as in nginx, and the fields in them that are not."""

_NOTHING = '""'
_WIDTH = 60
"""Of a default; a longer one, such as a list of ciphers, cannot be broken and is cut."""
_DURATIONS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_SIZES = ((1 << 30, "g"), (1 << 20, "m"), (1 << 10, "k"))


def text() -> str:
    """Every section, the outermost first; a section's heading is the path that leads to it."""
    return "\n".join("\n".join(_section(path, kind)) for path, kind in _sections())


def _sections() -> Iterator[tuple[str, type[model.Section]]]:
    todo: list[tuple[str, type[model.Section]]] = [("", model.Config)]
    seen = set()
    while todo:
        path, section = todo.pop(0)
        if section in seen:
            continue
        seen.add(section)
        yield path, section
        inner = [
            (f"{path}.{name}".lstrip(".") + suffix, kind)
            for name, field in section.model_fields.items()
            for kind, suffix in _inner(_annotation(field), "")
        ]
        todo = inner + todo  # what belongs to a section follows it


def _inner(annotation: object, suffix: str) -> Iterator[tuple[type[model.Section], str]]:
    """The sections in a type, and how one writes the way into them."""
    if isinstance(annotation, type) and issubclass(annotation, model.Section):
        yield annotation, suffix
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is tuple:
        args, suffix = args[:1], f"{suffix}[]"
    elif origin is dict:
        args, suffix = args[1:], f"{suffix}.NAME"
    elif origin is Annotated:
        args = args[:1]
    elif origin is Literal:
        return
    for arg in args:
        yield from _inner(arg, suffix)


def _section(path: str, section: type[model.Section]) -> Iterator[str]:
    yield f"## {path}" if path else "## The file"
    yield ""
    yield (section.__doc__ or "").replace("\n    ", "\n").strip()
    yield ""
    if section.shorthand is not None:
        yield f"A bare value stands for `{section.shorthand}`."
        yield ""
    for name, field in section.model_fields.items():
        described = field.description or _as_elsewhere(section, name)
        facts = "; ".join(_facts(section, name, field, described))
        yield f"`{name}`"
        yield f": *{facts}*"
        yield "  "
        for line in described.splitlines():
            yield f"  {line}".rstrip()
        if isinstance(table := field.get_default(), dict) and table:
            yield ""
            yield "  Unless it is written: " + ", ".join(
                f"`{key}: {value or _NOTHING}`" for key, value in table.items()
            )
        yield ""


def _as_elsewhere(section: type[model.Section], name: str) -> str:
    if section is model.ProxyOverrides:
        return f"As `proxy.{name}`, for this route."
    raise LookupError(f"{section.__name__}.{name} has no docstring")


def _facts(
    section: type[model.Section], name: str, field: FieldInfo, described: str
) -> Iterator[str]:
    yield _type(_annotation(field))
    if field.is_required():
        yield "required"
    elif not isinstance(default := field.get_default(), model.Section | dict) and (
        default not in (None, (), "")
    ):
        yield f"default `{_written(default, _type(_annotation(field)), section, name)}`"
    if "nginx" not in described and (directive := _directive(section, name)):
        yield f"nginx `{directive}`"


def _annotation(field: FieldInfo) -> object:
    """The type as it is written in the model: pydantic takes the outermost metadata off."""
    before = [one for one in field.metadata if isinstance(one, BeforeValidator)]
    return Annotated[field.annotation, before[0]] if before else field.annotation


def _type(annotation: object) -> str:
    if isinstance(annotation, type) and issubclass(annotation, model.Section):
        return f"[section](#{_anchor(_paths()[annotation])})"
    if annotation in _UNIT_OF_TYPE:
        return _UNIT_OF_TYPE[annotation]
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        for one in args[1:]:
            if isinstance(one, BeforeValidator) and (unit := _UNIT_OF_PARSER.get(one.func)):
                return unit
        return _type(args[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in args)
    if origin is tuple:
        return f"list of {_plural(_type(args[0]))}"
    if origin is dict:
        return f"{_plural(_type(args[1]))} by name"
    if origin in (Union, UnionType):
        return " or ".join(_type(arg) for arg in args if arg is not NoneType)
    raise TypeError(f"no word for {annotation}")


@cache
def _paths() -> dict[type[model.Section], str]:
    return {section: path for path, section in _sections()}


def _anchor(path: str) -> str:
    """Of the heading, as GitHub and MyST make them."""
    return re.sub(r"[^a-z0-9_-]", "", path.lower())


def _plural(noun: str) -> str:
    if noun.startswith("[section]"):
        return noun.replace("[section]", "[sections]")
    return noun if noun in ("text", "anything") or "`" in noun else f"{noun}s"


def _directive(section: type[model.Section], name: str) -> str:
    if section not in _OURS_ALONE or name in _OURS_ALONE[section]:
        return ""
    return _NGINX_PREFIX.get(section, "") + name


def _written(value: object, kind: str, section: type[model.Section], name: str) -> str:
    """A default as one would write it in the file."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if (section, name) == (model.Config, "children"):
        return "auto"
    if isinstance(value, float) or kind.startswith("duration"):
        return _in_units(float(str(value)), _DURATIONS)
    if kind == "size" and isinstance(value, int):
        return _in_units(value, _SIZES)
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    text = str(value)
    return text if len(text) <= _WIDTH else f"{text[: text.rfind(':', 0, _WIDTH)]}:..."


def _in_units(value: float, units: tuple[tuple[int, str], ...]) -> str:
    for factor, unit in units:
        if value and value % factor == 0:
            return f"{value / factor:.0f}{unit}"
    return re.sub(r"\.0$", "", str(value))


if __name__ == "__main__":
    sys.stdout.write(text())
