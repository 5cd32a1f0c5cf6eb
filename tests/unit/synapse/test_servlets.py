"""The registered servlets are those of the ground truth, and init keeps to them in all versions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synproxy.synapse.catalogue import load_catalogue
from synproxy.synapse.samples import sample_paths
from synproxy.synapse.servlets import Servlet, all_servlets, enumerated_versions, servlets_at
from synproxy.synapse.version import Version
from tests.support.merge_servlets import merged
from tests.support.paths import SHARED
from tests.support.routed import Routed
from tests.support.synapse_files import GENERIC, NEWER_STREAMS, STREAMS, SynapseFiles

CATALOGUE = load_catalogue()
TRUTH = SHARED / "data/synapse-routes-1.157.1.json"


@pytest.mark.parametrize(
    ("configuration", "conditions"),
    [("default", {"", "not_mas"}), ("mas", {"", "mas"}), ("media_worker_split", {"", "not_mas"})],
)
def test_the_list_has_what_the_ground_truth_has(configuration: str, conditions: set[str]) -> None:
    """For 1.157.1. It leaves out resource trees of their own, the list what always fails."""
    listed = {
        (servlet.method, servlet.regex.pattern): servlet
        for servlet in servlets_at(Version(1, 157))
        if servlet.condition in conditions
    }
    for row in json.loads(TRUTH.read_text())[configuration]:
        servlet = listed[row["method"], row["regex"]]
        main = {"main"} if configuration == "media_worker_split" else {"main", "main unless media"}
        assert bool(servlet.processes & main) == row["main"], row["regex"]
        workers = {"client", "federation", "writer"}
        if configuration != "media_worker_split":
            workers.add("media")  # every worker can serve media then
        if "openid/userinfo" in row["regex"] or "media" in row["module"]:
            continue
        refused = "writer" in servlet.processes and not row["worker"]
        assert bool(servlet.processes & workers) == row["worker"] or refused, row["regex"]


def test_every_verified_version_was_enumerated() -> None:
    assert set(CATALOGUE.verified) == set(enumerated_versions())


def test_facts_are_listed_by_spans_of_versions() -> None:
    old, now = ("mc", "-"), ("m", "-")
    row = ("GET", "^/a$")
    versions = [
        (Version(1, 98), {row: old}),
        (Version(1, 111), {row: old}),
        (Version(1, 130), {row: now}),
        (Version(1, 163), {}),
    ]
    assert [line.split() for line in merged(versions)] == [
        ["mc", "-", "v1.98", "v1.130", "GET", "^/a$"],
        ["m", "-", "v1.130", "v1.163", "GET", "^/a$"],
    ]


def test_a_version_between_two_is_like_the_one_before() -> None:
    assert servlets_at(Version(1, 129)) == servlets_at(Version(1, 127))
    assert servlets_at(Version(1, 20)) == servlets_at(Version(1, 98))
    assert servlets_at(Version(2, 0)) == servlets_at(Version(1, 163))
    assert len(all_servlets()) > len(servlets_at(Version(1, 163))) > 300


def deployment(directory: Path, version: Version, media_worker: bool) -> Routed:
    files = SynapseFiles(directory).several(GENERIC)
    kinds = {stream: CATALOGUE.kinds[kind] for stream, kind in CATALOGUE.streams.items()}
    known = [s for s in (*STREAMS, *NEWER_STREAMS) if (kinds[s].since or version) <= version]
    files.writers(*(stream for stream in known if stream != "thread_subscriptions"))
    if media_worker:
        files.media("media1")
        if version < Version(1, 114):  # see notes.py
            files.workers["media1"]["worker_listeners"][0]["resources"][0]["names"] += [
                "client",
                "federation",
            ]
    return Routed(files, version)


def can(routed: Routed, process: str, servlet: Servlet) -> bool:
    """Whether a process answers a servlet."""
    if process == "main":
        media = "media1" in routed.files.workers
        return "main" in servlet.processes or (
            "main unless media" in servlet.processes and not media
        )
    if "writer" in servlet.processes:
        return process == routed.writer(
            "push_rules" if "pushrules" in servlet.regex.pattern else "typing"
        )
    return bool(routed.resources(process) & servlet.processes)


@pytest.mark.parametrize("media_worker", [False, True])
@pytest.mark.parametrize("version", CATALOGUE.verified, ids=str)
def test_in_no_version_a_request_goes_to_a_process_that_has_not_registered_it(
    tmp_path: Path, version: Version, media_worker: bool
) -> None:
    routed = deployment(tmp_path, version, media_worker)
    wrong, requests, capable, left = [], 0, 0, 0
    for servlet in servlets_at(version):
        if servlet.condition in ("experimental", "mas"):
            continue
        for path in sample_paths(servlet.regex.pattern):
            requests += 1
            reached = routed.processes(servlet.method, path)
            wrong += [
                f"{servlet.method} {path}: {process}"
                for process in reached
                if not can(routed, process, servlet)
            ]
            media = media_worker and "media" in servlet.processes
            if servlet.processes & {"client", "federation"} or media:
                capable += 1
                left += "main" not in reached
    print(
        f"Synapse {version}: {len(wrong)} of {requests} requests went wrong; "
        f"{left / capable:.1%} of {capable} that workers can serve left main"
    )
    assert wrong == []
    assert requests > 1300
    assert left / capable >= 0.95
