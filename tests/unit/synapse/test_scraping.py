"""Where Prometheus finds the metrics of Synapse's processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synproxy.synapse.catalogue import load_catalogue
from synproxy.synapse.deployment import read_deployment
from synproxy.synapse.scraping import metrics_targets
from tests.support.synapse_files import SynapseFiles, http, socket


def metrics(port: int, **more: Any) -> dict[str, Any]:
    return {"type": "metrics", "port": port, **more}


def targets(files: SynapseFiles) -> list[tuple[str, str, str, str]]:
    """Job, index, name and address of each."""
    groups = metrics_targets(read_deployment(load_catalogue(), files.write()))
    for group in groups:
        assert group["labels"]["instance"] == "example.org"
        assert group["labels"]["__metrics_path__"] == "/_synapse/metrics"
    return [
        (labels["job"], labels["index"], labels["worker"], address)
        for labels, [address] in ((group["labels"], group["targets"]) for group in groups)
    ]


def deployment(directory: Path) -> SynapseFiles:
    files = SynapseFiles(directory)
    files.shared["enable_metrics"] = True
    files.shared["listeners"].append(metrics(9000, bind_addresses=["127.0.0.1"]))
    for number in (10, 2):
        name = f"normal_sync{number}"
        own = [http(socket(name), "client"), metrics(9000 + number)]
        files.worker(name, worker_listeners=own)
    return files


def test_each_process_with_a_port_for_metrics_is_a_target(tmp_path: Path) -> None:
    assert targets(deployment(tmp_path)) == [
        ("master", "1", "main", "127.0.0.1:9000"),
        ("generic_worker", "1", "normal_sync2", "127.0.0.1:9002"),
        ("generic_worker", "2", "normal_sync10", "127.0.0.1:9010"),
    ]


def test_a_worker_elsewhere_is_asked_there(tmp_path: Path) -> None:
    files = deployment(tmp_path)
    files.shared["instance_map"]["normal_sync2"] = {"host": "10.0.0.2", "port": 9100}
    assert targets(files)[1][3] == "10.0.0.2:9002"


def test_metrics_beside_other_resources_count_on_a_port_only(tmp_path: Path) -> None:
    files = deployment(tmp_path)
    beside = {"type": "http", "port": 8083, "resources": [{"names": ["client", "metrics"]}]}
    files.worker("login1", worker_listeners=[beside])
    files.worker("media1", worker_listeners=[http(socket("media1"), "media", "metrics")])
    assert [target[2:] for target in targets(files)[1:]] == [
        ("login1", "127.0.0.1:8083"),
        ("normal_sync2", "127.0.0.1:9002"),
        ("normal_sync10", "127.0.0.1:9010"),
    ]


def test_who_has_metrics_switched_off_is_none(tmp_path: Path) -> None:
    files = deployment(tmp_path)
    files.shared["enable_metrics"] = False
    files.workers["normal_sync2"]["enable_metrics"] = True
    assert [target[2] for target in targets(files)] == ["normal_sync2"]
