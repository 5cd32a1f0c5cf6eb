"""Rules about endpoints: each one must reach a process that serves it, and should reach its worker.

Every servlet of Synapse is routed, by the data path's own table, with paths that clients send; then
the routes to workers are searched for paths of servlets that those do not have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from synproxy.config.document import Path
from synproxy.config.well_known import PATHS as WELL_KNOWN
from synproxy.core.location_syntax import Location
from synproxy.core.target import normalise_path
from synproxy.lint.automaton import UnsupportedRegexError
from synproxy.lint.finding import Finding, Severity
from synproxy.lint.languages import Contest, may_meet, servlet_heads, servlet_language
from synproxy.lint.regexes import anchored_parts, unanchored_parts
from synproxy.lint.subject import Subject
from synproxy.synapse.catalogue import Group
from synproxy.synapse.processes import MAIN
from synproxy.synapse.roles import GENERIC
from synproxy.synapse.samples import sample_paths, template
from synproxy.synapse.servlets import Servlet

Key = tuple[str, str]
"""Method and regex of a servlet."""


@dataclass
class _Verdicts:
    """What became of every servlet's paths."""

    wrong: dict[int, dict[Key, str]] = field(default_factory=dict)
    """By route: servlets that it sends to who does not have them, each with a path."""
    nowhere: dict[Key, str] = field(default_factory=dict)
    """Servlets that no route takes."""
    missed: dict[str, dict[Key, str]] = field(default_factory=dict)
    """By group of the catalogue: servlets that do not reach the workers that are there for them."""
    lost: set[Key] = field(default_factory=set)
    """Those of ``missed`` that are not served at all."""
    right: dict[str, list[int]] = field(default_factory=dict)
    """By group of the catalogue: routes that lead its endpoints to where they belong."""


def served_endpoints(subject: Subject) -> Iterator[Finding]:
    """``misrouted``, ``method-blind``, ``missing``, ``unrouted`` and ``over-wide``."""
    verdicts = _judge(subject)
    missed = {key for found in verdicts.missed.values() for key in found}
    for index in sorted(verdicts.wrong):
        yield from _misrouted(subject, index, verdicts.wrong[index])
    for name, found in verdicts.missed.items():
        yield _missing(subject, verdicts, name, found)
    if left := {key: path for key, path in verdicts.nowhere.items() if key not in missed}:
        yield _unrouted(subject, left)
    yield from _over_wide(subject, verdicts)


def _judge(subject: Subject) -> _Verdicts:
    verdicts = _Verdicts()
    for servlet in subject.servlets:
        for path in sample_paths(servlet.regex.pattern):
            _judge_one(subject, verdicts, servlet, path)
    return verdicts


def _judge_one(subject: Subject, verdicts: _Verdicts, servlet: Servlet, path: str) -> None:
    key = (servlet.method, servlet.regex.pattern)
    optional = servlet.condition == "experimental"
    decoded = normalise_path(path.encode())
    index = subject.route_at(servlet.method, decoded)
    pools = () if index is None else subject.pools_of(index)
    if index is not None and not pools:
        return  # the route answers itself, which is meant
    if index is not None and _only_by_chance(subject.locations[index], decoded):
        return  # see "unanchored"
    group = _group_of(subject, servlet, decoded)
    able = bool(pools) and all(subject.can_answer(pool, servlet) for pool in pools)
    at_work = bool(pools) and all(subject.abilities[pool].resources != {MAIN} for pool in pools)
    if group is not None and (not able or not at_work) and _has_worker(subject, group, servlet):
        if at_work and index is not None:
            verdicts.wrong.setdefault(index, {}).setdefault(key, path)
        elif not optional:
            verdicts.missed.setdefault(group.name, {}).setdefault(key, path)
            if not able:
                verdicts.lost.add(key)
    elif index is None:
        if not optional and not _well_known(subject, decoded):
            verdicts.nowhere.setdefault(key, path)
    elif not able:
        verdicts.wrong.setdefault(index, {}).setdefault(key, path)
    elif group is not None and at_work and index not in verdicts.right.setdefault(group.name, []):
        verdicts.right[group.name].append(index)


def _well_known(subject: Subject, path: bytes) -> bool:
    """Whether synproxy itself answers, by ``well_known``."""
    documents = subject.config.well_known
    return any(
        getattr(documents, name) is not None and path.decode().startswith(prefix)
        for name, prefix in WELL_KNOWN.items()
    )


def _only_by_chance(location: Location, path: bytes) -> bool:
    """Whether a path is a location's for a part of the regex that may match anywhere, no other."""
    if location.regex is None or not (loose := unanchored_parts(location.regex)):
        return False
    return any(part.search(path) for part in loose) and not any(
        part.search(path) for part in anchored_parts(location.regex)
    )


def _group_of(subject: Subject, servlet: Servlet, path: bytes) -> Group | None:
    """The group of the catalogue that an endpoint belongs to; None: it is main's."""
    for group, endpoint, regex in subject.endpoints:
        methods = endpoint.methods
        if (not methods or servlet.method in methods) and regex.search(path):
            return None if group.kind == MAIN else group
    return None


def _has_worker(subject: Subject, group: Group, servlet: Servlet) -> bool:
    """Whether some pool is there for the group's endpoints, and can answer this one."""
    kind = subject.catalogue.kinds[group.kind]
    kinds = {group.kind, group.without_since, *kind.otherwise} | (
        {GENERIC} if kind.generic else set()
    )
    return any(
        kinds & ability.kinds and subject.can_answer(pool, servlet)
        for pool, ability in subject.abilities.items()
    )


def _misrouted(subject: Subject, index: int, found: dict[Key, str]) -> Iterator[Finding]:
    route = subject.routes[index]
    blind: dict[str, set[str]] = {}
    others: dict[Key, str] = {}
    for (method, regex), path in found.items():
        good = _other_methods(subject, index, method, regex, path)
        if good:
            blind.setdefault(regex, set()).update(good)
        else:
            others[method, regex] = path
    pools = " or ".join(f'"{pool}"' for pool in subject.pools_of(index))
    place: Path = ("routes", index, "location")
    if others:
        yield subject.finding(
            "misrouted",
            Severity.ERROR,
            place,
            f'route "{route.name}" sends {_count(others)} to pool {pools}, which '
            f"{'does' if len(subject.pools_of(index)) == 1 else 'do'} not have "
            f"{_are(others, 'it', 'them')}",
            "Synapse answers 404 M_UNRECOGNIZED (or fails with 500) where another process would "
            "have served the request",
            "let the regex take less, or write a route for them before this one",
            _examples(others),
        )
    if blind:
        wrong = {key: path for key, path in found.items() if key not in others}
        allowed = ", ".join(sorted(set[str]().union(*blind.values())))
        yield subject.finding(
            "method-blind",
            Severity.ERROR,
            place,
            f'route "{route.name}" takes every method, and pool {pools} has only some: '
            f"{_count(wrong)} more",
            "Synapse answers 405 or 404 M_UNRECOGNIZED to the others, which main would serve",
            f"write methods: [{allowed}]",
            _examples(wrong),
        )


def _other_methods(subject: Subject, index: int, method: str, regex: str, path: str) -> set[str]:
    """The methods of the same endpoint that the route leads to who has them."""
    return {
        servlet.method
        for servlet in subject.servlets
        if servlet.regex.pattern == regex
        and servlet.method != method
        and subject.route_of(servlet.method, path) == index
        and all(subject.can_answer(pool, servlet) for pool in subject.pools_of(index))
    }


def _missing(subject: Subject, verdicts: _Verdicts, name: str, found: dict[Key, str]) -> Finding:
    group = next(group for group in subject.catalogue.groups if group.name == name)
    lost = [key for key in found if key in verdicts.lost]
    index = next(iter(verdicts.right.get(name, ())), None)
    if index is None:
        index = _route_of_kind(subject, group)
    place: Path = ("routes",) if index is None else ("routes", index, "location")
    route = "no route" if index is None else f'route "{subject.routes[index].name}"'
    verb = "takes" if index is None else "misses"
    what = f"{route} {verb} {_count(found)} of {group.kind} workers"
    if not group.documented:
        what += f" (docs/workers.md leaves {_are(found, 'it', 'them')} out)"
    if lost:
        what += f": {_are(found, 'it is', 'they are')} answered with 404"
        why = "no process that has them is asked"
    else:
        what += f": {_are(found, 'it is', 'they are')} left to main"
        why = "main does what workers are there for, and it is the one process that cannot be many"
    return subject.finding(
        "missing",
        Severity.ERROR if lost else Severity.WARNING,
        place,
        what,
        why,
        f"let a location take {_are(found, 'it', 'them')}; `synproxy init` writes all of them",
        _examples(found),
        at_key=index is None,
    )


def _route_of_kind(subject: Subject, group: Group) -> int | None:
    """A route to a pool that is there for the group."""
    kinds = {group.kind, *subject.catalogue.kinds[group.kind].otherwise, GENERIC}
    for index in range(len(subject.routes)):
        if any(subject.abilities[pool].kinds & kinds for pool in subject.pools_of(index)):
            return index
    return None


def _unrouted(subject: Subject, found: dict[Key, str]) -> Finding:
    return subject.finding(
        "unrouted",
        Severity.ERROR,
        ("routes",),
        f"no route takes {_count(found)} of Synapse",
        "they are answered with 404 here, and Synapse is never asked",
        "end with a route for all that is left: location: /, pool: main",
        _examples(found),
        at_key=True,
    )


def _over_wide(subject: Subject, verdicts: _Verdicts) -> Iterator[Finding]:
    """Paths of servlets that a route to workers takes although they do not have them.

    What sampled paths have shown already is not shown again.
    """
    contest = Contest(subject)
    for index, route in enumerate(subject.routes):
        pools = subject.pools_of(index)
        if not pools or any(not subject.abilities[pool].known for pool in pools):
            continue
        if all(subject.abilities[pool].resources == {MAIN} for pool in pools):
            continue
        location = subject.locations[index]
        if location.regex is None or contest.languages.heads(index) is None:
            continue  # see "unanchored"
        known = verdicts.wrong.get(index, {})
        found = {}
        for servlet in subject.servlets:
            key = (servlet.method, servlet.regex.pattern)
            if key in known or all(subject.can_answer(pool, servlet) for pool in pools):
                continue
            if (path := _taken(subject, contest, index, servlet)) is not None:
                found[key] = path
        if found:
            yield subject.finding(
                "over-wide",
                Severity.WARNING,
                ("routes", index, "location"),
                f'route "{route.name}" takes some paths of {_count(found)} that pool '
                f"{' or '.join(pools)} does not have",
                "a client that sends such a path gets 404 M_UNRECOGNIZED",
                "let the regex take less, or write a route for them before this one",
                [f"{method} {path}" for (method, _), path in found.items()],
            )


def _taken(subject: Subject, contest: Contest, index: int, servlet: Servlet) -> str | None:
    """A path of the servlet that this route wins."""
    methods = subject.methods[index]
    if methods is not None and servlet.method.encode() not in methods:
        return None
    regex = servlet.regex.pattern
    if not may_meet(contest.languages.heads(index), servlet_heads(regex)):
        return None
    try:
        path, _ = contest.won(index, servlet.method, servlet_language(regex))
    except UnsupportedRegexError:
        return None
    return None if path is None else path.decode(errors="backslashreplace")


def _number(found: dict[Key, str]) -> int:
    """How many endpoints these are; one may have several methods."""
    return len({regex for _, regex in found})


def _count(found: dict[Key, str]) -> str:
    number = _number(found)
    return f"{number} endpoint{'' if number == 1 else 's'}"


def _are(found: dict[Key, str], one: str = "is", many: str = "are") -> str:
    return one if _number(found) == 1 else many


def _examples(found: dict[Key, str]) -> list[str]:
    """One line for each endpoint, with the methods that are concerned."""
    methods: dict[str, list[str]] = {}
    for method, regex in sorted(found):
        methods.setdefault(regex, []).append(method)
    return [f"{', '.join(several)} {template(regex)}" for regex, several in methods.items()]
