"""A route is chosen as the real nginx chooses a location."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from synproxy.config.model import Route
from synproxy.core.routes import RouteTable
from synproxy.core.target import normalise_path
from tests.differential.locations import ask, serve
from tests.support.route_tables import matrix_paths, route, seed_routes, synapse_routes

MODIFIERS = ("", "= ", "^~ ", "~ ", "~* ")
SEGMENTS = ("a", "A", "b", "ab", "v1", "media")
REGEX_SEGMENTS = (*SEGMENTS, "(a|b)", "[^/]+", ".*", r"\w", "(?<room>a+)", "(v1|v2)?", r"[\s\S]+")


def random_table(rng: random.Random) -> list[Route]:
    """Up to 24 locations of all kinds; nginx allows no duplicates among the plain ones."""
    found: dict[tuple[bool, str], Route] = {}
    for number in range(rng.randint(1, 24)):
        modifier = rng.choice(MODIFIERS)
        if modifier.startswith("~"):
            segments = list(dict.fromkeys(rng.choices(REGEX_SEGMENTS, k=rng.randint(1, 4))))
            text = rng.choice(("^/", "/", "", "^(/a|/b/)")) + "/".join(segments)
            text += rng.choice(("", "$", "/", "|media$"))
            key = (False, f"{number}")
        else:
            text = "/" + "/".join(rng.choices(SEGMENTS, k=rng.randint(0, 3)))
            text += rng.choice(("", "/")) if text != "/" else ""
            key = (modifier == "= ", text)
        found.setdefault(key, route(modifier + text, name=str(number)))
    return list(found.values())


def random_path(rng: random.Random) -> bytes:
    parts = [
        rng.choice((*SEGMENTS, "x", "aa", "%61", "..", ".", "")) for _ in range(rng.randint(0, 5))
    ]
    return ("/" + "/".join(parts) + rng.choice(("", "", "/", "%0A", "x"))).encode()


def location_block(entry: Route) -> str:
    modifier, _, text = entry.location.rpartition(" ")
    return f'location {modifier} "{text}" {{ return 200 "{entry.name}"; }}\n'


def compare(directory: Path, routes: list[Route], paths: list[bytes]) -> int:
    """Assert that both choose alike; how many requests found a location."""
    table = RouteTable(routes)
    chosen = 0
    with serve(directory, "".join(map(location_block, routes))) as nginx:
        for path in paths:
            status, body = ask(nginx, path)
            if status == 400:
                continue
            match = table.match(normalise_path(path), b"GET")
            expected = b"" if match is None else routes[match.index].name.encode()
            assert (body if status == 200 else b"") == expected, path
            chosen += match is not None
    return chosen


@pytest.mark.parametrize("seed", range(12))
def test_a_random_table_is_read_as_by_nginx(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    routes = random_table(rng)
    paths = [random_path(rng) for _ in range(150)]
    assert compare(tmp_path, routes, paths) > 0


def without_methods(routes: list[Route]) -> list[Route]:
    return [entry.model_copy(update={"methods": ()}) for entry in routes]


@pytest.mark.parametrize(
    "routes",
    [
        pytest.param(seed_routes(), id="seed"),
        pytest.param(without_methods([*synapse_routes(), route("/")]), id="synapse"),
    ],
)
def test_the_specification_is_routed_as_by_nginx(tmp_path: Path, routes: list[Route]) -> None:
    named = [entry.model_copy(update={"name": str(n)}) for n, entry in enumerate(routes)]
    assert compare(tmp_path, named, [coded for _, _, coded in matrix_paths()]) > 30
