"""Where Prometheus finds the metrics of Synapse's processes, in the words of its http_sd.

Must not know who asks.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Any, Final

from synproxy.synapse.deployment import Deployment
from synproxy.synapse.processes import MAIN, MASTER, Process

METRICS_PATH: Final = "/_synapse/metrics"


def metrics_targets(deployment: Deployment) -> list[dict[str, Any]]:
    """One group for each process that has metrics on a port; a UNIX socket cannot be scraped.

    The labels are those of Synapse's own dashboard (docs/metrics-howto.md there): ``instance`` is
    the homeserver, ``job`` the kind of process, ``index`` tells processes of a kind apart.
    """
    counts: Counter[str] = Counter()
    groups = []
    for process in (deployment.main, *deployment.workers):
        job = MASTER if process.name == MAIN else process.app.rpartition(".")[2] or "worker"
        counts[job] += 1
        address = _address(process)
        if address and process.settings.flag("enable_metrics"):
            labels = {
                "instance": deployment.server_name,
                "job": job,
                "index": str(counts[job]),
                "worker": process.name,
                "__metrics_path__": METRICS_PATH,
            }
            groups.append({"targets": [address], "labels": labels})
    return groups


def _address(process: Process) -> str:
    """A listener for metrics alone, or one that has them beside other resources."""
    shared = (
        listener.address
        for listener in process.listeners
        if "metrics" in listener.resources and listener.bound.port and not listener.tls
    )
    return next(chain(process.metrics, shared), "")
