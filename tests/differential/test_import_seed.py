"""What `synproxy import-nginx` makes of the seed's nginx treats requests as that nginx does.

A sample of the corpus of test_seed_corpus.py, which compares the translation made by hand: the same
pool, the same server of it, the same bytes to it, the same answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.differential.corpus import Case, build_corpus
from tests.differential.deployment import Outcome, run, seed_nginx, seed_sockets, stand_ins
from tests.differential.listed_routes import difference
from tests.differential.test_seed_corpus import describe
from tests.support.imported import imported_synproxy

pytestmark = pytest.mark.timeout(300)

EVERY = 11
"""One case of so many; a prime, so that no kind of case is left out."""

Outcomes = dict[int, Outcome]


@pytest.fixture(scope="module")
def outcomes() -> Iterator[tuple[list[Case], Outcomes, Outcomes]]:
    """The cases that both treat alike by the list of differences, nginx's and ours."""
    with TemporaryDirectory(prefix="sp") as name:
        directory = Path(name)
        sockets = directory / "s"
        for part in ("s", "trial", "nginx", "synproxy"):
            (directory / part).mkdir()
        cases = build_corpus()[::EVERY]
        with stand_ins(sockets) as recorder:
            with seed_nginx(directory / "trial", sockets) as nginx:
                trial = run(nginx, recorder, cases)
            cases = [case for case in cases if difference(case, trial[case.number]) is None]
            with seed_nginx(directory / "nginx", sockets) as nginx:
                wanted = run(nginx, recorder, cases)
            config = directory / "nginx" / "nginx.conf"
            with imported_synproxy(directory / "synproxy", config) as synproxy:
                got = run(synproxy, recorder, cases)
        yield cases, wanted, got


def test_the_imported_seed_treats_requests_as_its_nginx(
    outcomes: tuple[list[Case], Outcomes, Outcomes],
) -> None:
    cases, wanted, got = outcomes
    wrong = [
        describe(case, wanted[case.number], got[case.number])
        for case in cases
        if wanted[case.number] != got[case.number]
    ]
    assert not wrong, f"{len(wrong)} of {len(cases)}:\n" + "\n".join(wrong[:10])


def test_the_sample_reaches_every_server(
    outcomes: tuple[list[Case], Outcomes, Outcomes],
) -> None:
    cases, wanted, _ = outcomes
    servers = {attempt[0] for outcome in wanted.values() for attempt in outcome.attempts}
    assert len(cases) > 1500
    assert {f"{server}.sock" for server in servers} == set(seed_sockets())
