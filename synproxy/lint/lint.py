"""All rules over one configuration; slow regexes first, for the other rules use them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from synproxy.lint.finding import Finding, Severity
from synproxy.lint.regexes import slow_regexes, unanchored_regexes
from synproxy.lint.serving import served_endpoints
from synproxy.lint.shadowing import routes_for_nothing, shadowed_routes
from synproxy.lint.subject import Subject
from synproxy.lint.upkeep import dead_keepalive, open_doors, unused_names


def known_version(subject: Subject) -> Iterator[Finding]:
    """``version``: a Synapse that nothing is known of, so the nearest one is taken."""
    catalogue, version = subject.catalogue, subject.version
    known = min(max(version, catalogue.oldest), catalogue.newest)
    if version != known:
        yield subject.finding(
            "version",
            Severity.WARNING,
            (),
            f"Synapse {version} is not known here: the endpoints are taken for those of {known}",
            "endpoints that it has and this one has not are not looked at, and the other way round",
            "look for a newer synproxy" if version > known else "look for a newer Synapse",
        )


RULES: tuple[Callable[[Subject], Iterator[Finding]], ...] = (
    known_version,
    served_endpoints,
    unanchored_regexes,
    shadowed_routes,
    routes_for_nothing,
    open_doors,
    dead_keepalive,
    unused_names,
)


def lint(subject: Subject) -> list[Finding]:
    """Every finding, in the order of the file."""
    found = list(slow_regexes(subject))
    stuck = [one for one in found if one.severity is Severity.ERROR]
    if stuck:
        found.append(_not_looked_at(stuck[0]))
    else:
        found += [finding for rule in RULES for finding in rule(subject)]
    return sorted(found, key=lambda f: (f.line, f.column, f.severity, f.rule))


def _not_looked_at(stuck: Finding) -> Finding:
    """The other rules route requests, which such a regex would never let end."""
    return replace(
        stuck,
        rule="incomplete",
        severity=Severity.WARNING,
        what="nothing else was looked at",
        why="the other rules try paths, and this regex may not let them end",
        hint="repair it first",
        examples=(),
    )
