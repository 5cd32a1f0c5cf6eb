"""The listed differences (docs/nginx-differences.md) that the parity corpus meets.

Each says for a request's bytes where it applies, and what synproxy does there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from tests.differential.corpus import Case
from tests.differential.deployment import SEED, Outcome

ALLOWED = ("127.0.0.1", "::1")  # snippets/private.conf, of the corpus' sources

_locations = (SEED / "locations.conf").read_text()
_found = re.search(r"location ~ (\S+) \{\n    include snippets/private.conf;", _locations)
assert _found is not None
PRIVATE = re.compile(_found[1].encode())

REFUSED = Outcome(400, True, b"", "", ())
FORBIDDEN = Outcome(403, False, b"", "", ())


@dataclass(frozen=True, slots=True)
class RouteDifference:
    """Where ``applies`` to a case and nginx's outcome, synproxy's outcome is ``expected``."""

    id: str
    applies: Callable[[Case, Outcome], bool]
    expected: Outcome


def target(case: Case) -> bytes:
    """The request-target."""
    return case.request.split(b" ", 2)[1]


def _evades(case: Case, nginx: Outcome) -> bool:
    """nginx's catch-all lets a client pass that is not in the allowlist, and the path as Synapse
    may read it (raw, or decoded, dots not resolved) is one that the allowlist guards."""
    path = target(case).partition(b"?")[0]
    return (
        nginx.pool == "main"
        and case.source not in ALLOWED
        and any(PRIVATE.search(view) for view in (path, unquote_to_bytes(path)))
    )


ROUTE_DIFFERENCES = (
    RouteDifference("fragment-in-target", lambda case, _: b"#" in target(case), REFUSED),
    RouteDifference(
        "raw-bytes-in-target", lambda case, _: any(byte > 0x7E for byte in target(case)), REFUSED
    ),
    RouteDifference("allowlist-judges-all-views", _evades, FORBIDDEN),
)


def difference(case: Case, nginx: Outcome) -> RouteDifference | None:
    """The listed difference that applies to a case, the first if several do."""
    for listed in ROUTE_DIFFERENCES:
        if nginx != listed.expected and listed.applies(case, nginx):
            return listed
    return None
