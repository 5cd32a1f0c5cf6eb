"""The targets of `make fuzz`, with their seeds and a little chance."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

_MOST = 60
"""Seeds of a target that are tried here; the hostile tests send all of the messages."""


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_wrong_with_the_seeds_of_a_target(name: str) -> None:
    target = TARGETS[name]
    seeds = list(target.seeds())
    assert seeds
    for seed in seeds[:: max(1, len(seeds) // _MOST)]:
        target.check(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_wrong_with_a_seed_that_is_bent(name: str) -> None:
    target = TARGETS[name]
    seeds = [seed[:600] for seed in target.seeds()][:200]

    @settings(max_examples=25, derandomize=True, database=None)
    @given(
        st.sampled_from(seeds),
        st.lists(st.tuples(st.integers(0, 600), st.binary(max_size=4)), max_size=3),
    )
    def bend(seed: bytes, changes: list[tuple[int, bytes]]) -> None:
        for at, piece in changes:
            seed = seed[:at] + piece + seed[at + 1 :]
        target.check(seed)

    bend()
