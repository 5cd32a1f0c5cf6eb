"""Which process handled which request: Synapse's own word, by the request id it was given."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from tests.support.lab.deployment import Places

PROCESSED = re.compile(r' - [A-Z]+-(\S+) - .* Processed request: [^"]*"[A-Z]+ (\S+) HTTP/1\.[01]"')


def processed(places: Places, names: Iterable[str]) -> Mapping[str, list[str]]:
    """Request id to the processes that logged the end of such a request, from all their logs."""
    return _read(places, names, 1)


def processed_targets(places: Places, names: Iterable[str]) -> Mapping[str, list[str]]:
    """The same by request-target, for requests that came without an id."""
    return _read(places, names, 2)


def _read(places: Places, names: Iterable[str], group: int) -> Mapping[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        for line in places.log(name).read_text(errors="replace").splitlines():
            if match := PROCESSED.search(line):
                found[match[group]].append(name)
    return found
