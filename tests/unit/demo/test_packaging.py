"""What an installed wheel has beside the code."""

from __future__ import annotations

import tomllib
from pathlib import Path

from synproxy.demo.scene import SHIPPED, shipped_config

ROOT = Path(__file__).parents[3]


def test_the_wheel_ships_the_configurations_where_the_demo_looks_for_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"config": "synproxy/config/examples"}
    assert (ROOT / "config" / SHIPPED).is_file()


def test_a_checkout_uses_its_own_file() -> None:
    assert shipped_config() == ROOT / "config" / SHIPPED
