"""A memo forgets what is not used and never grows past its bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.core.memo import Memo


@given(st.lists(st.integers(0, 40), max_size=200), st.integers(2, 12))
def test_a_memo_never_holds_more_than_its_bound_nor_a_wrong_value(
    keys: list[int], entries: int
) -> None:
    memo: Memo[int, str] = Memo(entries)
    for key in keys:
        assert memo.recall(key) in (None, str(key))
        memo.store(key, str(key))
        assert memo.get(key) == str(key)
        assert len(memo) <= entries


def test_what_is_used_survives_a_flood_of_new_keys() -> None:
    memo: Memo[int, str] = Memo(8)
    memo.store(-1, "wanted")
    for key in range(1000):
        memo.store(key, "flood")
        assert memo.recall(-1) == "wanted"


def test_what_is_not_used_is_forgotten() -> None:
    memo: Memo[int, str] = Memo(8)
    memo.store(-1, "unwanted")
    for key in range(8):
        memo.store(key, "flood")
    assert memo.recall(-1) is None


def test_a_memo_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 entries, not 1"):
        Memo(1)
