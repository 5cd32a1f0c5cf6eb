"""The workloads, one module each; what they have in common is in bench/lib."""

from __future__ import annotations

from bench.lib.stage import Case
from bench.workloads import (
    children,
    compression,
    held,
    http2,
    latency,
    media,
    routes,
    send,
    sync,
    tls,
)

CASES: tuple[Case, ...] = (
    *sync.CASES,
    *compression.CASES,
    *send.CASES,
    *media.CASES,
    *routes.CASES,
    *held.CASES,
    *tls.CASES,
    *http2.CASES,
    *children.CASES,
    *latency.CASES,
)


def chosen(names: str, quick: bool) -> list[Case]:
    """The cases of a comma-separated list: ``a``, ``b/80k``; all usual ones for an empty list.

    ``quick``: those that take long only when named exactly.

    Raises ValueError for a name that there is not.
    """
    usual = [case for case in CASES if case.usual and (case.quick or not quick)]
    if not names:
        return usual
    wanted: set[str] = set()
    for name in names.split(","):
        of_letter = [case for case in usual if case.name.partition("/")[0] == name]
        exact = [case for case in CASES if case.name == name]
        if not (exact or of_letter):
            known = ", ".join(case.name for case in CASES)
            raise ValueError(f"no workload {name!r}; there are {known}")
        wanted |= {case.name for case in exact or of_letter}
    return [case for case in CASES if case.name in wanted]
