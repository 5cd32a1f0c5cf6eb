"""What nginx makes of HTTP itself, and that synproxy makes the same of it or is listed."""

from __future__ import annotations

import pytest

from tests.differential.bench import EXCHANGES, Bench
from tests.differential.differences import listed_for
from tests.differential.http_changes import EVERYWHERE, HttpDifference
from tests.differential.listed_http import HTTP_DIFFERENCES, expected
from tests.support.synproxy import Synproxy


@pytest.mark.parametrize("name", EXCHANGES)
def test_an_exchange_goes_as_with_nginx(bench: Bench, synproxy: Synproxy, name: str) -> None:
    exchange = EXCHANGES[name]
    wanted = expected(exchange, bench.nginx_saw(name), bench.nginx_saw)
    assert bench.play(synproxy.port, exchange) == wanted


def test_the_rows_are_the_differences_that_are_asserted() -> None:
    asserted = {listed.id for listed in (*EVERYWHERE, *HTTP_DIFFERENCES)}
    assert asserted == listed_for(__file__)


@pytest.mark.parametrize("listed", EVERYWHERE, ids=lambda listed: listed.id)
def test_what_differs_everywhere_does_so(bench: Bench, listed: HttpDifference) -> None:
    plain = "request: plain GET"
    seen = bench.nginx_saw(plain)
    assert listed.change(EXCHANGES[plain], seen, bench.nginx_saw) != seen


def test_every_listed_exchange_exists() -> None:
    named = {name for listed in HTTP_DIFFERENCES for name in listed.names}
    assert named <= EXCHANGES.keys()
