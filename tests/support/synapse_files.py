"""Synapse's configuration files for tests: a deployment, written as an administrator would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

RUN = "/run/matrix-synapse"

ALL_KINDS = (
    ("initial_sync1", ("client",)),
    ("normal_sync1", ("client",)),
    ("normal_sync2", ("client",)),
    ("sliding_sync1", ("client",)),
    ("client_reader1", ("client",)),
    ("client_reader2", ("client",)),
    ("encryption1", ("client",)),
    ("login1", ("client",)),
    ("user_dir1", ("client",)),
    ("event_creator1", ("client",)),
    ("event_creator2", ("client",)),
    ("messages1", ("client",)),
    ("mas_helper1", ("client",)),
    ("federation_reader1", ("federation",)),
    ("federation_reader2", ("federation",)),
    ("federation_inbound1", ("federation",)),
)
"""A worker of each kind that Synapse's settings do not name."""

GENERIC = (
    ("generic_worker1", ("client", "federation")),
    ("generic_worker2", ("client", "federation")),
)

STREAMS = ("typing", "to_device", "account_data", "receipts", "presence", "push_rules")
NEWER_STREAMS = ("device_lists", "thread_subscriptions")


def socket(name: str) -> str:
    return f"{RUN}/{name}.sock"


def http(path: str, *resources: str) -> dict[str, Any]:
    return {"type": "http", "path": path, "resources": [{"names": list(resources)}]}


class SynapseFiles:
    """homeserver.yaml and workers' files in a directory; change ``shared`` and ``workers``, then
    :meth:`write`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.shared: dict[str, Any] = {
            "server_name": "example.org",
            "listeners": [
                http(socket("main"), "client", "federation"),
                http(socket("main_replication"), "replication"),
            ],
            "instance_map": {"main": {"path": socket("main_replication")}},
        }
        self.workers: dict[str, dict[str, Any]] = {}

    def worker(self, name: str, *resources: str, **settings: Any) -> SynapseFiles:
        """A worker with one listener, and what else its file says."""
        listeners = [http(socket(name), *resources)] if resources else []
        self.workers[name] = {
            "worker_app": "synapse.app.generic_worker",
            "worker_name": name,
            "worker_listeners": listeners,
            **settings,
        }
        return self

    def several(self, workers: Sequence[tuple[str, Sequence[str]]]) -> SynapseFiles:
        for name, resources in workers:
            self.worker(name, *resources)
        return self

    def writers(self, *streams: str, resource: str = "client") -> SynapseFiles:
        """A worker for each stream, as its writer."""
        for stream in streams:
            name = f"{stream}_writer1"
            self.worker(name, resource)
            replication = socket(f"{name}_replication")
            self.workers[name]["worker_listeners"].append(http(replication, "replication"))
            self.shared["instance_map"][name] = {"path": replication}
            self.shared.setdefault("stream_writers", {})[stream] = [name]
        return self

    def media(self, *names: str) -> SynapseFiles:
        """Workers for media; main gives it up."""
        self.shared["enable_media_repo"] = False
        for name in names:
            self.worker(name, "media", enable_media_repo=True)
        return self

    def set(self, **settings: Any) -> SynapseFiles:
        self.shared.update(settings)
        return self

    @property
    def homeserver(self) -> Path:
        return self.directory / "homeserver.yaml"

    def write(self) -> list[Path]:
        """Write all files; what to pass to ``--synapse``."""
        _write(self.homeserver, self.shared)
        workers = self.directory / "workers"
        workers.mkdir(exist_ok=True)
        for name, content in self.workers.items():
            _write(workers / f"{name}.yaml", content)
        return [self.homeserver, workers] if self.workers else [self.homeserver]


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(dict(content), sort_keys=False))
