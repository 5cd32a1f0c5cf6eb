"""What `init` writes sends no request to a process that has not registered it, and frees main.

The ground truth is an enumeration of the servlets of Synapse 1.157.1; requests are routed by the
data path's own code.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from synproxy.synapse.samples import sample_paths
from synproxy.synapse.version import Version
from tests.support.enumerate_servlets import EXPERIMENTAL
from tests.support.paths import SHARED
from tests.support.route_tables import matrix_paths
from tests.support.routed import Routed
from tests.support.synapse_files import ALL_KINDS, GENERIC, NEWER_STREAMS, STREAMS, SynapseFiles

VERSION = Version(1, 157)
CONFIGURATIONS = ("default", "all_experimental", "mas", "media_worker_split")
MAS = {"matrix_authentication_service": {"enabled": True, "endpoint": "http://localhost:8080/"}}
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "all_experimental": {
        **MAS,
        "experimental_features": {f"{name}_enabled": True for name in EXPERIMENTAL},
        "max_event_delay_duration": "1d",
    },
    "mas": MAS,
    "media_worker_split": {},
}
WORKERS = {"every kind of worker": ALL_KINDS, "generic workers": GENERIC, "no workers": ()}

# Registered by workers, and failing there with 500: synapse-routing.md 1.4.
BROKEN_ON_WORKERS = re.compile(r"openid/userinfo|msc4370/extremities")


@dataclass(frozen=True)
class Servlet:
    method: str
    regex: re.Pattern[str]
    processes: frozenset[str]
    """Of ``main``, ``client``, ``federation`` (workers with that resource) and ``media``."""
    stream: str = ""
    """The stream that it writes; main writes it, or a worker."""
    only_writer: bool = False
    """Any other process than the writer raises an exception."""


# Servlets that write a stream, by the name that Synapse gives their group.
STREAM_OF = {
    "The typing stream": "typing",
    "The to_device stream": "to_device",
    "Account data requests": "account_data",
    "Receipts requests": "receipts",
    "Presence requests": "presence",
    "Push rule requests": "push_rules",
    "Thread Subscriptions requests (unstable)": "thread_subscriptions",
}
ONLY_WRITER = {"typing", "push_rules"}


@cache
def truth() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = json.loads(
        (SHARED / "data/synapse-routes-1.157.1.json").read_text()
    )
    return found


@cache
def servlets(configuration: str) -> tuple[Servlet, ...]:
    """Who has registered what. A media worker has what main loses when it gives media up."""
    found = []
    for row in truth()[configuration]:
        processes = {"main"} if row["main"] else set()
        resource = "federation" if row["resource"] in ("federation", "key") else "client"
        pushrules = "pushrules/" in row["regex"]
        if BROKEN_ON_WORKERS.search(row["regex"]) is None and (row["worker"] or pushrules):
            processes.add(resource)
        if configuration == "media_worker_split" and row["module"] == "synapse.rest.admin.media":
            processes.add("media")  # the one that main keeps, which lists the media of a room
        stream = STREAM_OF.get(row["category"], "") if row["method"] != "GET" else ""
        regex = re.compile(row["regex"])
        found.append(
            Servlet(row["method"], regex, frozenset(processes), stream, stream in ONLY_WRITER)
        )
    if configuration == "media_worker_split":
        kept = {(servlet.method, servlet.regex.pattern) for servlet in found}
        found += [
            Servlet(row["method"], re.compile(row["regex"]), frozenset({"media"}))
            for row in truth()["default"]
            if (row["method"], row["regex"]) not in kept
        ]
    return tuple(found)


def can(routed: Routed, process: str, servlet: Servlet) -> bool:
    """Whether this process answers what the servlet is for."""
    if process == "localhost:8080":
        return False  # MAS is no process of Synapse
    if servlet.only_writer:
        return process == routed.writer(servlet.stream)
    if process == "main":
        return "main" in servlet.processes
    return bool(routed.resources(process) & servlet.processes)


def deployment(directory: Path, configuration: str, workers: str, writers: bool) -> Routed:
    files = SynapseFiles(directory).set(**SETTINGS[configuration]).several(WORKERS[workers])
    if not SETTINGS[configuration].get("matrix_authentication_service"):
        files.workers.pop("mas_helper1", None)
    if configuration == "media_worker_split":
        files.media("media1", "media2")
    if writers:
        known = [*STREAMS, *NEWER_STREAMS]
        if configuration != "all_experimental":
            known.remove("thread_subscriptions")
        files.writers(*known)
    return Routed(files, VERSION)


def requests(configuration: str) -> Iterator[tuple[Servlet, str]]:
    """Every servlet with paths that it takes, sampled and from the specification's examples."""
    known = servlets(configuration)
    for servlet in known:
        for path in sample_paths(servlet.regex.pattern):
            yield servlet, path
    for method, _, encoded in matrix_paths():
        path = encoded.decode()
        for servlet in known:
            if servlet.method == method.decode() and servlet.regex.match(path):
                yield servlet, path
                break


SCENARIOS = [
    (configuration, workers, writers)
    for configuration in CONFIGURATIONS
    for workers in WORKERS
    for writers in (False, True)
    if workers != "no workers" or not writers
]


@pytest.mark.parametrize(("configuration", "workers", "writers"), SCENARIOS)
def test_no_request_goes_to_a_process_that_has_not_registered_it(
    tmp_path: Path,
    configuration: str,
    workers: str,
    writers: bool,
) -> None:
    deployed = deployment(tmp_path, configuration, workers, writers)
    wrong, count = [], Counter[str]()
    for servlet, path in requests(configuration):
        reached = deployed.processes(servlet.method, path)
        count["requests"] += 1
        wrong += [
            f"{servlet.method} {path} ({servlet.regex.pattern}): {process}"
            for process in reached
            if not can(deployed, process, servlet)
        ]
        mains = servlet.stream and deployed.writer(servlet.stream) == "main"
        if servlet.processes & {"client", "federation", "media"} and not mains:
            count["worker-capable"] += 1
            count["left main"] += "main" not in reached
    share = count["left main"] / max(count["worker-capable"], 1)
    print(
        f"{len(wrong)} of {count['requests']} requests went wrong; "
        f"{share:.1%} of {count['worker-capable']} that workers can serve left main"
    )
    assert wrong == []
    assert count["requests"] > 1500
    if workers == "no workers":
        assert share <= 0.1  # media alone
    else:
        assert count["worker-capable"] > 900
        assert share >= 0.95
