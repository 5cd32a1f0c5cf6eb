"""THREAT_MODEL.md names a test for each threat: they must be there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "THREAT_MODEL.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/.]+\.py(?:::\w+)?)`", TEXT)))
ROWS = [line.split("|") for line in TEXT.splitlines() if line.startswith("| ")]
THREATS = [row for row in ROWS if row[1].strip() not in ("threat", "---")]


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_is_named_exists(name: str) -> None:
    path, _, function = name.partition("::")
    source = (ROOT / path).read_text()
    if function:
        assert re.search(rf"^(?:async )?def {function}\(", source, re.MULTILINE)
    else:
        assert "def test_" in source


def test_every_threat_has_a_test() -> None:
    assert len(THREATS) > 25
    for row in THREATS:
        assert "`tests/" in row[3], row[1]
