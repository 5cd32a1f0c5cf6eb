"""The demo's configuration: the shipped one with its sockets, listener and allowlists replaced.

Must not know processes or requests; it turns one YAML document into another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import synproxy

SHIPPED = "synapse-workers.yaml"
LONGEST_NAME = 48  # bytes of a worker's name with ".sock"


def shipped_config() -> Path:
    """The shipped configuration: package data of an installed wheel, or the checkout's file."""
    package = Path(synproxy.__file__).parent
    for directory in (package / "config" / "examples", package.parent / "config"):
        if (directory / SHIPPED).is_file():
            return directory / SHIPPED
    raise FileNotFoundError(f"{SHIPPED} is not installed beside {package}")


@dataclass(slots=True)
class Scene:
    """The rewritten document, and the sockets that it names, by worker."""

    document: dict[str, Any]
    sockets: dict[str, Path] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        path.write_text(yaml.safe_dump(self.document, sort_keys=False), encoding="utf-8")


def build_scene(shipped: Path, directory: Path, port: int, access_log: str) -> Scene:
    """Move every server to a socket in `directory`, listen on loopback only, and let every
    allowlist deny everyone, because a visitor from 127.0.0.1 would be let in otherwise."""
    scene = Scene(yaml.safe_load(shipped.read_text(encoding="utf-8")))
    document = scene.document
    document["listeners"] = [{"listen": f"127.0.0.1:{port}"}]
    document["children"] = 1
    document["access_log"] = {"path": access_log, "format": "combined_upstream", "flush": "200ms"}
    for name in document.get("allowlists", {}):
        document["allowlists"][name] = {"rules": [{"deny": "all"}]}
    for pool in document["pools"].values():
        pool["servers"] = [_moved(server, directory, scene.sockets) for server in pool["servers"]]
    return scene


def _moved(server: Any, directory: Path, sockets: dict[str, Path]) -> Any:
    address = server if isinstance(server, str) else server["address"]
    name = worker_name(address)
    if len(name) + len(".sock") > LONGEST_NAME:
        raise ValueError(f"{name} is too long for a socket's name")
    sockets[name] = directory / f"{name}.sock"
    moved = f"unix:{sockets[name]}"
    return moved if isinstance(server, str) else {**server, "address": moved}


def worker_name(address: str) -> str:
    """``unix:/run/matrix-synapse/inbound_login.sock`` is ``login``; a TCP address is itself."""
    if not address.startswith("unix:"):
        return address.replace(":", "_")
    return Path(address.removeprefix("unix:")).stem.removeprefix("inbound_")


def workers_of(document: Mapping[str, Any], pool: str) -> Iterator[str]:
    """The names of the workers in one pool."""
    for server in document["pools"][pool]["servers"]:
        yield worker_name(server if isinstance(server, str) else server["address"])
