"""``access_log`` and ``log_format``: where finished requests are written down, and how.

Source: https://nginx.org/en/docs/http/ngx_http_log_module.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from synproxy.config.units import parse_duration
from synproxy.config.variable_names import LOG_VARIABLES, template_parts
from synproxy.nginx.draft import Said
from synproxy.nginx.report import Report
from synproxy.nginx.scope import Scope
from synproxy.nginx.tree import Directive

_PREDEFINED: Final = "combined"
_NGINX_LOGS: Final = "/var/log/nginx/"
_OUR_LOGS: Final = "/var/log/synproxy/"
"""Made by the unit and by Debian's package; they rotate what is there."""
_PARAMETERS: Final = {
    "gzip": "the log is not compressed: let logrotate do it",
    "if": "every request is logged; access_log.sample leaves out some of those that went well",
}
"""What cannot be carried over, and what its absence means."""


def access_log(scope: Scope, report: Report) -> object:
    """The ``access_log`` section: what holds in the server block."""
    written = [one for one in scope.inherited("access_log") if one.args]
    if not written:
        return {"path": "-", "format": _PREDEFINED}
    first, *others = written
    report.claim(first)
    for one in others:
        report.lost(one, "one log is written, the first")
    path, *words = first.args
    if path == "off":
        return Said("off", first.place)
    if path.startswith("syslog:") or "$" in path:
        report.lost(first, "the log goes to standard output, and so to the journal")
        path = "-"
    place = first.place
    if path.startswith(_NGINX_LOGS):
        place += f" ({path}, which only nginx may write)"
        path = _OUR_LOGS + path.removeprefix(_NGINX_LOGS)
    section: dict[str, object] = {"path": Said(path, place)}
    named = words.pop(0) if words and "=" not in words[0] and words[0] != "gzip" else _PREDEFINED
    if named == _PREDEFINED:
        section["format"] = _PREDEFINED
    else:
        section |= _format(first, named, scope, report)
    for word in words:
        name, _, value = word.partition("=")
        if name == "flush":
            section["flush"] = _flush(first, value, report)
        elif name in _PARAMETERS:
            report.differs(first, _PARAMETERS[name])
    return section


def only_one_log(server: Scope, location: Scope, report: Report) -> None:
    """Report the logs of a location that are not those of its server block."""
    general = [one.args for one in server.inherited("access_log")]
    for one in location.innermost.all("access_log"):
        if one.args not in general:
            report.differs(one, "all routes write to the log of the server block")


def _flush(one: Directive, value: str, report: Report) -> object:
    try:
        parse_duration(value)
    except ValueError as error:
        report.differs(one, f"flush: {error}; lines wait for a second")
        value = "1s"
    return Said(value, one.place)


def _format(one: Directive, name: str, scope: Scope, report: Report) -> dict[str, object]:
    formats = [found for found in scope.blocks[0].all("log_format") if found.args[:1] == (name,)]
    if not formats:
        report.differs(one, f"there is no log_format {name}: the format is combined_upstream")
        return {"format": "combined_upstream"}
    written = formats[-1]
    report.claim(written)
    try:
        translated = _translated(written, scope)
    except ValueError as error:
        report.differs(written, f"{error}: the format is combined_upstream")
        return {"format": "combined_upstream"}
    if "$" not in translated.text:
        report.differs(written, "none of its variables is known: the format is combined_upstream")
        return {"format": "combined_upstream"}
    if translated.notes:
        report.differs(written, "; ".join(translated.notes))
    section: dict[str, object] = {"format": Said(translated.text, written.place)}
    if translated.escape != "default":
        section["escape"] = translated.escape
    return section


@dataclass(frozen=True, slots=True)
class _Translated:
    text: str
    escape: str
    notes: list[str]
    """What differs."""


def _translated(written: Directive, scope: Scope) -> _Translated:
    """A ``log_format`` in our words: of variables that are not logged here, the constant that they
    are, or what nginx writes for those without a value."""
    escape, notes = "default", []
    words = list(written.args[1:])
    if words and words[0].startswith("escape="):
        escape = words.pop(0).removeprefix("escape=")
    text = "".join(words)
    if escape == "none":
        escape = "default"
        notes.append("values are escaped as with escape=default, so that a client makes no lines")
    if len(text.splitlines()) > 1:
        text = " ".join(line.strip() for line in text.splitlines())
        notes.append("it is one line for each request")
    constants = _constants(scope)
    nothing = "" if escape == "json" else "-"
    made, unknown = "", []
    for part, is_name in reversed(template_parts(text)):
        name = part.lower()
        if not is_name:
            made = part + made
        elif name in LOG_VARIABLES:
            goes_on = made[:1].isalnum() or made[:1] == "_"
            made = (f"${{{name}}}" if goes_on else f"${name}") + made
        elif name in constants:
            made = constants[name] + made
        else:
            made = nothing + made
            unknown.append(f"${name}")
    if unknown:
        names = ", ".join(dict.fromkeys(reversed(unknown)))
        notes.append(f"{names}: not logged here, always {nothing or 'empty'}")
    return _Translated(made, escape, notes)


def _constants(scope: Scope) -> dict[str, str]:
    """Variables that have the same value in each request of the server block."""
    within = set(_set_within(scope.innermost.block or ()))
    found = {
        name: one.args[1]
        for name, one in scope.variables().items()
        if "$" not in one.args[1] and name not in within
    }
    names = scope.last("server_name")
    found["server_name"] = names.args[0] if names is not None and names.args else ""
    return found


def _set_within(directives: Iterable[Directive]) -> Iterator[str]:
    """The variables that blocks among these set, and blocks in them."""
    for block in directives:
        for one in block.all("set"):
            yield from (word.removeprefix("$").lower() for word in one.args[:1])
        yield from _set_within(block.block or ())
