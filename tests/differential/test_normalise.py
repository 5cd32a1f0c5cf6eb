"""The path that routes see equals nginx's $uri, byte for byte."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from synproxy.core.target import check_target, normalise_path, split_target
from synproxy.errors import DownstreamError
from tests.differential.locations import ask, serve
from tests.support.nginx import Nginx
from tests.support.route_tables import matrix_paths
from tests.unit.core.test_target import NORMALISED, REFUSED_PATHS

PIECES = rb"/ // . .. a b. % %2 %2e %2E %2F %2f %25 %3f %23 %00 %41 %zz + \ ; %7F %C3 ? & %0a %20"


def odd_paths() -> list[bytes]:
    rng = random.Random(3)
    pieces = PIECES.split()
    pairs = [b"/a/" + b"".join(pair) for pair in itertools.product(pieces[:12], repeat=2)]
    mixed = [b"/" + b"".join(rng.choices(pieces, k=rng.randint(1, 9))) for _ in range(400)]
    return [*pairs, *mixed]


def each_byte() -> list[bytes]:
    raw = [b"/a%cb/../c" % byte for byte in range(256) if byte not in b"\n\r"]
    escaped = [b"/x/%%%02X/./d" % byte for byte in range(256)]
    after_dots = [b"/x/..%%%02xb" % byte for byte in range(256)]
    return [*raw, *escaped, *after_dots]


TARGETS = {
    "known": [*(raw for raw, _ in NORMALISED), *REFUSED_PATHS],
    "odd": odd_paths(),
    "bytes": each_byte(),
    "specification": [coded for _, _, coded in matrix_paths()],
}


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with serve(tmp_path_factory.mktemp("nginx"), 'location / { return 200 "$uri"; }') as nginx:
        yield nginx


def ours(target: bytes) -> tuple[int, bytes]:
    try:
        check_target(target)
        return 200, normalise_path(split_target(target)[0])
    except DownstreamError as error:
        return error.status, b""


def is_deliberately_stricter(target: bytes) -> bool:
    """docs/nginx-differences.md: fragments and bytes from 0x80 are refused here only."""
    return b"#" in target or any(byte >= 0x80 for byte in target)


@pytest.mark.parametrize("kind", TARGETS)
def test_a_target_has_the_path_that_nginx_sees(nginx: Nginx, kind: str) -> None:
    compared = 0
    for target in TARGETS[kind]:
        status, body = ask(nginx, target)
        if is_deliberately_stricter(target):
            assert ours(target)[0] == 400
            continue
        assert ours(target) == (status, body if status == 200 else b""), target
        compared += 1
    assert compared >= 60


def test_nginx_accepts_what_is_deliberately_refused(nginx: Nginx) -> None:
    assert ask(nginx, b"/a#b") == (200, b"/a")
    assert ask(nginx, b"/\xc3\xa9") == (200, b"/\xc3\xa9")


def test_a_regex_location_sees_the_same_path(tmp_path: Path) -> None:
    with serve(tmp_path, r'location ~ "^([\s\S]*)$" { return 200 "$1"; }') as nginx:
        for raw, normalised in NORMALISED:
            # "$" stands before a final newline, and the group is what comes before it
            assert ask(nginx, raw) == (200, normalised)
