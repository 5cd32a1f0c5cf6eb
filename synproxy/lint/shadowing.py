"""Rules about routes that never win, and about routes for what Synapse does not have.

Must not know what a route leads to.
"""

from __future__ import annotations

from collections.abc import Iterator

from synproxy.lint.automaton import UnsupportedRegexError, example, search
from synproxy.lint.finding import Finding, Severity
from synproxy.lint.languages import (
    Contest,
    Languages,
    may_meet,
    paths,
    servlet_heads,
    servlet_language,
)
from synproxy.lint.subject import Subject
from synproxy.synapse.processes import MAIN

_SSO = "sso"
_OTHER_METHOD = "X"
"""A method that no route names."""


def shadowed_routes(subject: Subject) -> Iterator[Finding]:
    """``shadowed``: other routes take every path that a route could take."""
    contest = Contest(subject)
    named = sorted({m.decode() for methods in subject.methods for m in methods or ()})
    for index in range(len(subject.routes)):
        mine = subject.methods[index]
        methods = [m for m in named if m.encode() in mine] if mine else [*named, _OTHER_METHOD]
        winners: set[int] = set()
        try:
            for method in methods:
                path, others = contest.won(index, method)
                if path is not None:
                    break
                winners.update(others)
            else:
                yield _shadowed(subject, index, sorted(winners))
        except UnsupportedRegexError:
            continue


def _shadowed(subject: Subject, index: int, winners: list[int]) -> Finding:
    names = ", ".join(f'"{subject.routes[winner].name}"' for winner in winners[:5])
    return subject.finding(
        "shadowed",
        Severity.ERROR,
        ("routes", index, "location"),
        f'route "{subject.routes[index].name}" never wins: {names} '
        f"{'takes' if len(winners) == 1 else 'take'} all its paths",
        "it is as good as not written, and what it says about pool and access does not hold",
        "put it before them, or remove it",
    )


def routes_for_nothing(subject: Subject) -> Iterator[Finding]:
    """``no-endpoint``: routes to workers for paths that this Synapse does not have."""
    languages = Languages(subject.locations)
    groups = subject.catalogue.groups_at(subject.version)
    endpoints = {endpoint.path for group in groups for endpoint in group.endpoints}
    # What needs settings that no enumeration had: single sign-on.
    special = {e.path for group in groups if _SSO in group.when for e in group.endpoints}
    for index, route in enumerate(subject.routes):
        pools = subject.pools_of(index)
        abilities = [subject.abilities[pool] for pool in pools]
        if not pools or any(not one.known or one.resources == {MAIN} for one in abilities):
            continue
        location = subject.locations[index]
        if location.regex is not None and location.regex.pattern.decode() in endpoints:
            continue
        if not _concerns_anything(subject, languages, index, special):
            yield subject.finding(
                "no-endpoint",
                Severity.WARNING,
                ("routes", index, "location"),
                f'Synapse {subject.version} has nothing that route "{route.name}" is for',
                "no request will come here; it may be misspelt, or from another version",
                "remove it, or give the version that you run with --version",
            )


def _concerns_anything(
    subject: Subject, languages: Languages, index: int, special: set[str]
) -> bool:
    heads = languages.heads(index)
    try:
        mine = languages.route(index)
        for servlet in subject.servlets:
            regex = servlet.regex.pattern
            if may_meet(heads, servlet_heads(regex)) and example(
                [paths(), mine, servlet_language(regex)]
            ):
                return True
        return any(example([paths(), mine, search(regex)]) for regex in sorted(special))
    except UnsupportedRegexError:
        return True  # not known
