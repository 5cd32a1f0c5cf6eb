"""What the documentation shows can be copied: every YAML block in it loads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from synproxy.config.loader import loads

ROOT = Path(__file__).parents[3]
BASE = """\
listeners: [8008]
pools: {main: {servers: ["unix:/run/matrix-synapse/inbound_main.sock"]}}
"""
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [
    pytest.param(block, id=f"{path.name}-{number}")
    for path in sorted((ROOT / "docs").glob("*.md"))
    for number, block in enumerate(BLOCK.findall(path.read_text(encoding="utf-8")))
]


def test_there_are_blocks_to_read() -> None:
    assert len(BLOCKS) >= 5


@pytest.mark.parametrize("block", BLOCKS)
def test_a_documented_block_loads_beside_a_listener_and_main(block: str) -> None:
    base, shown = yaml.safe_load(BASE), yaml.safe_load(block)
    base["pools"] |= shown.pop("pools", {})
    loads(yaml.safe_dump({**base, **shown}, sort_keys=False), "file.yaml")
