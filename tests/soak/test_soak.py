"""Half a minute of everything at once: nothing mixed up, nothing lost without a reason, nothing
left over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.judge import complaints, table
from tests.soak.run import Plan, Soak


@pytest.mark.timeout(300)
async def test_mixed_load_with_faults_mixes_nothing_up_and_leaves_nothing(sockets: Path) -> None:
    plan = Plan(seed=6, rounds=1, seconds=6.0, people=1, calm=0, pause=(0.3, 1.0))
    said: list[str] = []
    result = await Soak(sockets, plan, said.append).run()
    assert not complaints(result, sockets), (said, table(result), complaints(result, sockets))
    assert result.ledger.answers.total() > 100
    assert result.ledger.answers["streamed"] > 10
    faults = {"reload", "worker killed", "silent worker", "child killed", "socket replaced"}
    faults.add("binary upgrade")
    assert faults <= set(result.ledger.done), result.ledger.done
