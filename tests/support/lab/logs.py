"""Which process handled which request: Synapse's own word, by the request id it was given."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from tests.support.lab.deployment import Places

PROCESSED = re.compile(r" - [A-Z]+-(\S+) - .* Processed request: ")


def processed(places: Places, names: Iterable[str]) -> Mapping[str, list[str]]:
    """Request id to the processes that logged the end of such a request, from all their logs."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        for line in places.log(name).read_text(errors="replace").splitlines():
            if match := PROCESSED.search(line):
                found[match[1]].append(name)
    return found
