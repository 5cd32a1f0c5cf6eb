"""Which cases run, the configurations they give the proxies, and the traffic they send."""

from __future__ import annotations

import random
import zlib
from collections import Counter
from pathlib import Path

import pytest

from bench import workloads
from bench.lib import matrix, proxies, running
from bench.lib.setup import PLAIN, Setup
from bench.workloads import compression, send, sync
from synproxy.config.loader import loads

SETUPS = [
    PLAIN,
    Setup(gzip=True),
    Setup(routes=200, sync_servers=32),
    *(case.setup for case in workloads.CASES),
]


def test_every_row_is_measured_by_one_case() -> None:
    keys = Counter(row.key for case in workloads.CASES for row in case.rows)
    assert [key for key, count in keys.items() if count > 1] == []
    assert {key[0] for key in keys} == set("abcdefghij")


@pytest.mark.parametrize(
    ("names", "quick", "chosen"),
    [
        ("a,c", False, ["a", "c"]),
        ("c,a,c", False, ["a", "c"]),
        ("b", False, ["b"]),
        ("b/80k", False, ["b/80k"]),
        ("f", False, ["f/100", "f/1000", "f/5000", "f/9000"]),
        ("f", True, ["f/100", "f/1000"]),
        ("f/9000", True, ["f/9000"]),
    ],
)
def test_a_letter_means_its_usual_cases(names: str, quick: bool, chosen: list[str]) -> None:
    assert [case.name for case in workloads.chosen(names, quick)] == chosen


def test_an_unknown_workload_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no workload 'z'; there are a, b, b/1k"):
        workloads.chosen("a,z", False)


@pytest.mark.parametrize("setup", SETUPS)
def test_the_routes_are_as_many_as_asked_for_and_all_different(setup: Setup) -> None:
    routes = setup.table()
    assert len(routes) == setup.routes
    assert len({route.regex for route in routes}) == setup.routes
    assert {route.pool for route in routes} <= {*setup.pools(), "$sync"}


@pytest.mark.parametrize("setup", SETUPS)
def test_synproxy_understands_the_configuration_or_cannot_do_it_yet(setup: Setup) -> None:
    proxy = proxies.ALL["synproxy"]
    if proxy.unable(setup):
        assert setup.tls or setup.processes > 1
        return
    config = loads(running.render(proxy, setup, Path("/run/bench"), 8008), "bench")
    assert len(config.routes) == setup.routes
    assert len(config.pools["normal_sync"].servers) == setup.sync_servers
    assert config.http.gzip.enabled == setup.gzip


@pytest.mark.parametrize("size", [1000, 1024, 8000, 80_000])
def test_a_sync_has_the_size_asked_for_and_compresses_like_json(size: int) -> None:
    body = matrix.sync_body("s1", size, random.Random(1))
    assert abs(len(body) - size) < 20
    assert matrix.unseal(body)["next_batch"] == "s1"
    assert 1.4 < len(body) / len(zlib.compress(body, 2)) < 4


def test_a_changed_byte_breaks_the_seal() -> None:
    body = matrix.sync_body("s1", 1000, random.Random(1))
    with pytest.raises(ValueError, match="checksum"):
        matrix.unseal(body.replace(b"join", b"jOin", 1))


def test_the_mix_has_every_size() -> None:
    assert Counter(compression.MIX) == {1_000: 16, 8_000: 8, 80_000: 3, 800_000: 1}


def test_requests_have_thirteen_fields_and_a_number_that_changes() -> None:
    for request in sync.requests():
        head = request.decode().removesuffix("\r\n\r\n").split("\r\n")
        assert len(head) == 1 + 13
        assert "{N}" in head[0]


def test_a_message_announces_its_length() -> None:
    for request in send.requests():
        head, _, body = request.partition(b"\r\n\r\n")
        assert b"{N}" in head.split(b"\r\n")[0]
        assert b"\r\nContent-Length: %d\r\n" % len(body) in head
        assert len(body) < 2100
