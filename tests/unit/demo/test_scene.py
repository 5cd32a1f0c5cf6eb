"""The demo's configuration is the shipped one with other sockets."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from synproxy.config.loader import load
from synproxy.demo.scene import LONGEST_NAME, build_scene, shipped_config, worker_name, workers_of

DOCUMENT = """\
listeners: ["[::]:8008", "8448"]
allowlists:
  private: [{allow: 127.0.0.1}, {deny: all}]
  other: {rules: [{allow: all}]}
pools:
  login: {servers: ["unix:/run/matrix-synapse/inbound_login.sock"]}
  also_login: {servers: [{address: "unix:/run/matrix-synapse/inbound_login.sock", weight: 2}]}
  main: {servers: ["127.0.0.1:8080"]}
"""


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    path = tmp_path / "shipped.yaml"
    path.write_text(DOCUMENT)
    return path


def test_every_server_moves_to_the_directory(shipped: Path, tmp_path: Path) -> None:
    scene = build_scene(shipped, tmp_path, 8008, "-")
    assert scene.sockets == {
        "login": tmp_path / "login.sock",
        "127.0.0.1_8080": tmp_path / "127.0.0.1_8080.sock",
    }
    login = f"unix:{tmp_path}/login.sock"
    assert scene.document["pools"]["login"]["servers"] == [login]
    assert scene.document["pools"]["also_login"]["servers"] == [{"address": login, "weight": 2}]
    assert list(workers_of(scene.document, "main")) == ["127.0.0.1_8080"]


def test_only_loopback_listens_and_nobody_is_allowed(shipped: Path, tmp_path: Path) -> None:
    scene = build_scene(shipped, tmp_path, 4711, "-")
    assert scene.document["listeners"] == [{"listen": "127.0.0.1:4711"}]
    denied = {"rules": [{"deny": "all"}]}
    assert scene.document["allowlists"] == {"private": denied, "other": denied}


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("unix:/run/matrix-synapse/inbound_normal_sync1.sock", "normal_sync1"),
        ("unix:/run/main.sock", "main"),
        ("[::1]:8083", "[__1]_8083"),
    ],
)
def test_a_worker_is_named_after_its_socket(address: str, name: str) -> None:
    assert worker_name(address) == name


def test_a_name_that_fits_no_socket_is_refused(shipped: Path, tmp_path: Path) -> None:
    shipped.write_text(yaml.safe_dump({"pools": {"a": {"servers": ["x" * LONGEST_NAME]}}}))
    with pytest.raises(ValueError, match="too long"):
        build_scene(shipped, tmp_path, 8008, "-")


def test_the_shipped_configuration_is_still_valid_when_rewritten(tmp_path: Path) -> None:
    scene = build_scene(shipped_config(), tmp_path, 8008, "off")
    scene.write(tmp_path / "demo.yaml")
    config = load(tmp_path / "demo.yaml")
    servers = {server.address for pool in config.pools.values() for server in pool.servers}
    assert servers == {f"unix:{path}" for path in scene.sockets.values()}
    assert len(config.routes) == len(load(shipped_config()).routes)
