"""nginx ``map``: a value looked up among exact strings, then regexes, else the default.

This module must not know where the looked-up value comes from, nor the names of variables.
Source: ngx_http_map_module, ngx_http_map_find()
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from synproxy.config.model import Map
from synproxy.config.pcre import compile_regex
from synproxy.config.variable_names import template_parts
from synproxy.core.template import Render, RequestView, Scope, Template, constant_template

CompileTemplate = Callable[[str], Template]
MatchRender = Callable[[RequestView, re.Match[bytes]], bytes]
RegexEntry = tuple[Callable[[bytes], re.Match[bytes] | None], MatchRender]


def compile_map(declared: Map, compile_template: CompileTemplate) -> tuple[Scope, Render]:
    """One map as a function, with the scope of all that it may read.

    Raises ValueError for a bad regex, a key given twice, and whatever ``compile_template`` refuses.
    """
    source = compile_template(declared.source)
    default = compile_template(declared.default)
    scope = max(source.scope, default.scope)
    exact: dict[bytes, Template] = {}
    regexes: list[RegexEntry] = []
    for key, text in declared.values.items():
        if key.startswith("~"):
            pattern = key[1:].removeprefix("*")
            regex = compile_regex(pattern, ignore_case=key.startswith("~*"))
            needed, render = _regex_value(text, regex, compile_template)
            scope = max(scope, needed)
            regexes.append((regex.search, render))
            continue
        # A leading backslash keeps a string from being read as a regex or a keyword (nginx map).
        string = key.removeprefix("\\").encode().lower()
        if string in exact:
            raise ValueError(f"the key {key!r} is given twice (case does not count)")
        exact[string] = compile_template(text)
        scope = max(scope, exact[string].scope)
    return scope, _lookup(source, exact, regexes, default)


def _lookup(
    source: Template,
    exact: Mapping[bytes, Template],
    regexes: list[RegexEntry],
    default: Template,
) -> Render:
    """The cheapest function that answers for these entries."""
    look = source.render
    otherwise = default.render
    same = default.text == source.text
    # Keys without letters are equal to a value or not, whatever its case.
    fold = any(key.upper() != key for key in exact)
    constants = {key: value.constant for key, value in exact.items() if value.constant is not None}
    if not regexes and default.constant is not None and len(constants) == len(exact):
        find_constant = constants.get
        fallback = default.constant
        if fold:
            return lambda view: find_constant(look(view).lower(), fallback)
        return lambda view: find_constant(look(view), fallback)
    find = {key: value.render for key, value in exact.items()}.get

    def render(view: RequestView) -> bytes:
        value = look(view)
        found = find(value.lower() if fold else value)
        if found is not None:
            return found(view)
        if value:  # nginx tries no regex on an empty value
            for search, answer in regexes:
                match = search(value)
                if match is not None:
                    return answer(view, match)
        return value if same else otherwise(view)

    return render


def _regex_value(
    text: str, regex: re.Pattern[bytes], compile_template: CompileTemplate
) -> tuple[Scope, MatchRender]:
    """The value of a regex entry: its groups by name (``$user``) or number (``$1``) come first."""
    names = {name.lower(): number for name, number in regex.groupindex.items()}
    scope = Scope.CONSTANT
    parts: list[MatchRender] = []
    for part, is_name in template_parts(text):
        number = names.get(part.lower()) if is_name else None
        if is_name and part.isdecimal():
            number = int(part)
            if not 0 < number <= regex.groups:
                raise ValueError(f"${part} is used, but the regex has {regex.groups} groups")
        if number is not None:
            parts.append(_group(number))
            continue
        template = compile_template("$" + part) if is_name else constant_template(part)
        scope = max(scope, template.scope)
        parts.append(_ignore_match(template.render))
    if len(parts) == 1:
        return scope, parts[0]
    return scope, lambda view, match: b"".join([part(view, match) for part in parts])


def _group(number: int) -> MatchRender:
    return lambda view, match: match[number] or b""


def _ignore_match(render: Render) -> MatchRender:
    return lambda view, match: render(view)
