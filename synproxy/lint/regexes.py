"""Rules about single regexes: slow ones, and those that begin anywhere.

Must not know what a route leads to, but for how bad that is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import islice

from synproxy.config.document import Path
from synproxy.config.pcre import compile_regex
from synproxy.core.location_syntax import Kind
from synproxy.core.regex_prefix import alternatives
from synproxy.core.target import normalise_path
from synproxy.lint.automaton import UnsupportedRegexError, example, search
from synproxy.lint.backtracking import Blowup, Growth, blowup
from synproxy.lint.finding import Finding, Severity
from synproxy.lint.languages import paths, servlet_language
from synproxy.lint.subject import Subject
from synproxy.synapse.processes import MAIN
from synproxy.synapse.samples import sample_paths

SHOWN = 5
"""Requests that show what a part of a regex catches."""

_POWERS = {2: "quadratic", 3: "cubic"}


def slow_regexes(subject: Subject) -> Iterator[Finding]:
    """``backtracking``: a text that a client can send keeps the process busy."""
    for path, pattern, ignore_case, at_key in _regexes(subject):
        regex = compile_regex(pattern, ignore_case=ignore_case)
        try:
            found = blowup(regex)
        except UnsupportedRegexError as reason:
            yield subject.finding(
                "backtracking",
                Severity.WARNING,
                path,
                f"whether this regex can be slow is not known: {reason}",
                "a regex that backtracks lets one request keep the whole proxy busy",
                "write it without lookaround, back-references and nested repetitions",
                at_key=at_key,
            )
            continue
        if found is not None:
            yield _slow(subject, path, found, at_key)


def _slow(subject: Subject, path: Path, found: Blowup, at_key: bool) -> Finding:
    exponential = found.growth is Growth.EXPONENTIAL
    time = "exponential" if exponential else _POWERS.get(found.degree, f"n^{found.degree}")
    severity = Severity.ERROR if exponential or found.degree > 2 else Severity.WARNING
    pump = _shown(found.pump)
    shown = f"{_shown(found.before)}{pump}{pump}{pump}...{_shown(found.after)}"
    return subject.finding(
        "backtracking",
        severity,
        path,
        f"this regex takes {time} time",
        "one request keeps the whole proxy busy "
        + ("for hours" if exponential else "for a second and more"),
        "let two repetitions match different things ([^/]* instead of .*), and end at the last one",
        [shown],
        at_key=at_key,
    )


def _shown(data: bytes) -> str:
    return "".join(chr(b) if 0x20 < b < 0x7F else f"%{b:02X}" for b in data)


def _regexes(subject: Subject) -> Iterator[tuple[Path, str, bool, bool]]:
    """Place, pattern, whether case counts, and whether it is a key, of all regexes."""
    for index, location in enumerate(subject.locations):
        if location.regex is not None:
            written = subject.routes[index].location.strip()
            pattern = written.removeprefix("~*").removeprefix("~").strip()
            no_case = location.kind is Kind.REGEX_NO_CASE
            yield ("routes", index, "location"), pattern, no_case, False
    for name, section in subject.config.maps.items():
        for key in section.values:
            if key.startswith("~"):
                pattern = key[1:].removeprefix("*")
                yield ("maps", name, "values", key), pattern, key.startswith("~*"), True
    for number, pattern in enumerate(subject.config.http.gzip.disable):
        yield ("http", "gzip", "disable", number), pattern, False, False


def unanchored_regexes(subject: Subject) -> Iterator[Finding]:
    """``unanchored``: a part of a location that matches anywhere in a path."""
    for index, location in enumerate(subject.locations):
        if location.regex is None:
            continue
        route = subject.routes[index]
        pools = subject.pools_of(index)
        to_main = all(subject.abilities[pool].resources == {MAIN} for pool in pools)
        for part in unanchored_parts(location.regex):
            caught = list(islice(_caught(subject, index, part), SHOWN))
            severe = bool(caught) and (route.allowlists or not to_main)
            effect = f"goes to {' or '.join(pools) or 'an answer of its own'}"
            if route.allowlists:
                effect += f", behind {' and '.join(route.allowlists)}"
            yield subject.finding(
                "unanchored",
                Severity.ERROR if severe else Severity.WARNING,
                ("routes", index, "location"),
                f'"{part.pattern.decode()}" in route "{route.name}" is not tied to the beginning '
                "of the path",
                f"whatever path has it anywhere {effect}",
                "write ^ before it, or put it inside the group that is tied",
                caught,
            )


def unanchored_parts(regex: re.Pattern[bytes]) -> tuple[re.Pattern[bytes], ...]:
    """The alternatives of a regex that may match anywhere."""
    return _split(regex)[1]


def anchored_parts(regex: re.Pattern[bytes]) -> tuple[re.Pattern[bytes], ...]:
    """The others."""
    return _split(regex)[0]


@cache
def _split(
    regex: re.Pattern[bytes],
) -> tuple[tuple[re.Pattern[bytes], ...], tuple[re.Pattern[bytes], ...]]:
    if alternatives(regex) is not None:
        return (regex,), ()
    parts = [re.compile(p, regex.flags & re.IGNORECASE) for p in _parts(regex.pattern)]
    loose = tuple(part for part in parts if alternatives(part) is None)
    return tuple(part for part in parts if part not in loose), loose


_TOKEN = re.compile(rb"\\\\.|\[\^?\]?(?:\\\\.|[^\]])*\]|.", re.DOTALL)


def _parts(pattern: bytes) -> list[bytes]:
    """The alternatives of a regex, outside all groups and classes."""
    parts, depth = [b""], 0
    for token in _TOKEN.findall(pattern):
        depth += (token == b"(") - (token == b")")
        if token == b"|" and depth == 0:
            parts.append(b"")
        else:
            parts[-1] += token
    return parts


def _caught(subject: Subject, index: int, part: re.Pattern[bytes]) -> Iterator[str]:
    """Requests to Synapse that this part alone brings to the route, usual ones first."""
    for servlet in subject.servlets:
        for path in sample_paths(servlet.regex.pattern):
            decoded = normalise_path(path.encode())
            if part.search(decoded) and subject.route_at(servlet.method, decoded) == index:
                yield f"{servlet.method} {decoded.decode()}"
                break
    language = search(part.pattern, part.flags & re.IGNORECASE)
    for servlet in subject.servlets:
        try:
            found = example([paths(), language, servlet_language(servlet.regex.pattern)])
        except UnsupportedRegexError:
            continue
        if found is not None and subject.route_at(servlet.method, found) == index:
            yield f"{servlet.method} {found.decode(errors='backslashreplace')}"
