"""The seed's nginx and synproxy with seed-parity.yaml treat every Matrix request alike.

Alike: the same pool, the same server of it, the same bytes to that server, the same status to the
client, and the connection kept or closed. What is not alike is a row of docs/nginx-differences.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.differential.corpus import Case, build_corpus
from tests.differential.deployment import Outcome, run, seed_nginx, seed_synproxy, stand_ins
from tests.differential.differences import listed_for
from tests.differential.listed_routes import ROUTE_DIFFERENCES, RouteDifference, difference

pytestmark = pytest.mark.timeout(900)
"""For the first test, which makes the comparison: some 60,000 requests."""

SHOWN = 10

Outcomes = dict[int, Outcome]


class Comparison:
    """All cases with both outcomes.

    A request that only one proxy forwards moves the round robin of the other one on. So nginx gets
    everything once to find the cases that differ, and the comparison runs without them; they are
    sent to synproxy at the end, where they are expected to reach no server.
    """

    def __init__(self, directory: Path) -> None:
        sockets = directory / "s"
        for name in ("s", "trial", "nginx", "synproxy"):
            (directory / name).mkdir()
        cases = build_corpus()
        with stand_ins(sockets) as recorder:
            with seed_nginx(directory / "trial", sockets) as nginx:
                self.trial = run(nginx, recorder, cases)
            self.differing = {
                case.number: listed
                for case in cases
                if (listed := difference(case, self.trial[case.number])) is not None
            }
            self.equal = [case for case in cases if case.number not in self.differing]
            self.apart = [case for case in cases if case.number in self.differing]
            with seed_nginx(directory / "nginx", sockets) as nginx:
                self.nginx = run(nginx, recorder, self.equal)
            with seed_synproxy(directory / "synproxy", sockets) as synproxy:
                self.synproxy = run(synproxy, recorder, self.equal + self.apart)


@pytest.fixture(scope="module")
def comparison() -> Iterator[Comparison]:
    with TemporaryDirectory(prefix="sp") as directory:  # short: a socket path has 107 bytes
        yield Comparison(Path(directory))


def describe(case: Case, wanted: Outcome, got: Outcome) -> str:
    """What differs, for a person."""
    lines = [f"{case.name} (from {case.source})"]
    for field in Outcome.__dataclass_fields__:
        one, other = getattr(wanted, field), getattr(got, field)
        if one != other:
            lines += [f"  {field}: wanted {one!r}", f"  {field}:    got {other!r}"]
    return "\n".join(lines)


def test_every_request_is_treated_alike(comparison: Comparison) -> None:
    wrong = [
        describe(case, comparison.nginx[case.number], comparison.synproxy[case.number])
        for case in comparison.equal
        if comparison.nginx[case.number] != comparison.synproxy[case.number]
    ]
    assert not wrong, f"{len(wrong)} of {len(comparison.equal)}:\n" + "\n".join(wrong[:SHOWN])


def test_what_is_listed_differs_as_described(comparison: Comparison) -> None:
    wrong = [
        describe(case, listed.expected, comparison.synproxy[case.number])
        for case in comparison.apart
        if (listed := comparison.differing[case.number]).expected
        != comparison.synproxy[case.number]
    ]
    assert not wrong, f"{len(wrong)} of {len(comparison.apart)}:\n" + "\n".join(wrong[:SHOWN])


def test_the_rows_are_the_differences_that_occur(comparison: Comparison) -> None:
    occurring: set[RouteDifference] = set(comparison.differing.values())
    assert {listed.id for listed in occurring} == {listed.id for listed in ROUTE_DIFFERENCES}
    assert {listed.id for listed in ROUTE_DIFFERENCES} == listed_for(__file__)


def test_the_corpus_reaches_every_pool_and_every_server(comparison: Comparison) -> None:
    """Otherwise the comparison would say less than it seems to."""
    pools = Counter(outcome.pool for outcome in comparison.nginx.values())
    servers = {attempt[0] for outcome in comparison.nginx.values() for attempt in outcome.attempts}
    statuses = {outcome.status for outcome in comparison.nginx.values()}
    assert len(comparison.equal) > 19_000
    assert pools.keys() - {""} == {
        *("login", "initial_sync", "normal_sync", "media"),
        *("incoming_federation", "federation_requests", "main"),
    }
    assert min(pools.values()) > 50
    assert servers == {
        *("inbound_login", "inbound_main"),
        *(f"inbound_initial_sync{n}" for n in (1, 2)),
        *(f"inbound_normal_sync{n}" for n in (1, 2, 3)),
        *(f"inbound_federation_reader{n}" for n in (1, 2, 3, 4)),
        *(f"inbound_media_repository{n}" for n in (1, 2)),
    }
    assert statuses == {200, 400, 403}
