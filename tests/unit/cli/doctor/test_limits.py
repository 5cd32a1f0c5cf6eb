"""Limits that must fit together."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest

from synproxy.cli.doctor import limits
from synproxy.cli.doctor.holders import Process
from tests.support.fake_synapse import TOKEN, FakeSynapse
from tests.unit.cli.doctor.compiled import config, offline

HERE = {"pools": {"main": {"servers": ["unix:/a"]}}}


def pool(**settings: Any) -> dict[str, Any]:
    return {"servers": ["unix:/nonexistent/main.sock"], **settings}


@pytest.mark.parametrize(
    ("pools", "findings"),
    [
        ({"main": pool(keepalive_timeout=50)}, [("ok", "pool main")]),
        ({"main": pool(keepalive_timeout=60)}, [("warn", "pool main")]),
        ({"main": pool(keepalive_timeout=61), "x": pool(keepalive=0)}, [("warn", "pool main")]),
        ({"main": pool(keepalive=0)}, [("ok", "every pool")]),
        (
            {"main": pool(), "x": pool(), "y": pool(keepalive_timeout=30)},
            [("warn", "pools main, x"), ("ok", "pool y")],
        ),
    ],
)
def test_idle_connections_are_given_up_before_synapse_closes_them(
    pools: dict[str, Any], findings: list[tuple[str, str]]
) -> None:
    found = list(limits.check_keepalive(config(pools=pools)))
    assert [(each.status, each.subject) for each in found] == findings
    assert all(("50s" in each.remedy) is (each.status == "warn") for each in found)


@pytest.mark.parametrize(
    ("limit", "status"), [("0", "ok"), ("12800k", "ok"), ("13107199", "fail"), ("1m", "fail")]
)
def test_the_largest_transaction_gets_in(limit: str, status: str) -> None:
    found = limits.check_transactions(offline(http={"client_max_body_size": limit}))
    assert (found.check, found.status) == ("federation-size", status)
    assert bool(found.remedy) is (status == "fail")


def test_the_limit_of_the_route_for_transactions_counts() -> None:
    send = {"name": "send", "location": "/_matrix/federation/", "pool": "main"}
    routes = [
        send | {"proxy": {"client_max_body_size": "1m"}},
        {**send, "name": "x", "location": "/"},
    ]
    found = limits.check_transactions(offline(routes=routes, http={"client_max_body_size": "1g"}))
    assert (found.status, found.subject) == ("fail", "route send")


def test_without_federation_there_are_no_transactions() -> None:
    routes = [{"name": "c", "location": "/_matrix/client/", "pool": "main"}]
    assert limits.check_transactions(offline(routes=routes)).status == "skip"


@pytest.mark.parametrize(
    ("ours", "theirs", "status", "reason"),
    [
        ("50M", 50 << 20, "ok", "50 MiB here and in Synapse"),
        ("50M", 100 << 20, "fail", "at most 50 MiB here, 100 MiB in Synapse"),
        ("50M", 52428801, "fail", "at most 50 MiB here, 52428801 bytes in Synapse"),
        ("50M", 10 << 20, "warn", "at most 50 MiB here, 10 MiB in Synapse"),
        ("0", 10 << 20, "warn", "any size here, 10 MiB in Synapse"),
    ],
)
async def test_the_upload_limit_is_the_same_on_both_sides(
    sockets: Path, ours: str, theirs: int, status: str, reason: str
) -> None:
    asked = offline(http={"client_max_body_size": ours})
    async with FakeSynapse(upload=theirs).on(sockets / "a") as address:
        found = await limits.check_upload(asked, address, TOKEN, None, 5)
    assert (found.check, found.status) == ("upload", status)
    assert reason in found.reason
    assert bool(found.remedy) is (status != "ok")


async def test_the_remedy_is_a_line_of_the_configuration(sockets: Path) -> None:
    async with FakeSynapse(upload=100 << 20).on(sockets / "a") as address:
        found = await limits.check_upload(offline(), address, TOKEN, None, 5)
    assert found.remedy.startswith("client_max_body_size: 100M ")


async def test_an_older_synapse_is_asked_by_the_older_path(sockets: Path) -> None:
    synapse = FakeSynapse(
        overrides={
            "/_matrix/client/v1/media/config": (404, {}),
            "/_matrix/media/v3/config": (200, {"m.upload.size": 1 << 20}),
        }
    )
    async with synapse.on(sockets / "a") as address:
        assert (await limits.check_upload(offline(), address, TOKEN, None, 5)).status == "ok"


@pytest.mark.parametrize(
    ("token", "overrides", "reason"),
    [
        ("", {}, "to its users only"),
        ("wrong", {}, "the access token is not valid (401)"),
        (TOKEN, {"/_matrix/client/v1/media/config": (500, {})}, "404 to GET /_matrix/media/v3"),
        (TOKEN, {"/_matrix/client/v1/media/config": (200, {"m.upload.size": "1"})}, "404 to GET"),
    ],
)
async def test_what_synapse_does_not_tell_is_said(
    sockets: Path, token: str, overrides: dict[str, Any], reason: str
) -> None:
    async with FakeSynapse(overrides=overrides).on(sockets / "a") as address:
        found = await limits.check_upload(offline(), address, token, None, 5)
    assert found.status == "skip"
    assert reason in found.reason
    assert token not in found.text or not token


@pytest.mark.parametrize(
    ("stated", "status", "reason"),
    [
        (50 << 20, "ok", "50 MiB here and in Synapse's files"),
        (100 << 20, "fail", "at most 50 MiB here, 100 MiB in Synapse's files"),
    ],
)
async def test_synapses_files_tell_the_limit_without_a_token(
    sockets: Path, stated: int, status: str, reason: str
) -> None:
    asked = offline(http={"client_max_body_size": "50M"})
    async with FakeSynapse().on(sockets / "a") as address:
        for where in (address, None):
            found = await limits.check_upload(asked, where, "", stated, 5)
            assert (found.status, reason in found.reason) == (status, True)
        found = await limits.check_upload(asked, address, TOKEN, stated, 5)
    assert found.reason == "50 MiB here and in Synapse"  # what runs goes before what is written


async def test_a_synapse_that_is_away_is_said(sockets: Path) -> None:
    gone = f"unix:{sockets}/gone"
    assert (await limits.check_upload(offline(), gone, TOKEN, None, 5)).status == "skip"
    assert (await limits.check_upload(offline(), None, TOKEN, None, 5)).status == "skip"


async def test_a_configuration_without_a_way_for_uploads_fails() -> None:
    routes = [{"name": "c", "location": "/_matrix/client/", "pool": "main"}]
    found = await limits.check_upload(offline(routes=routes), None, "", None, 5)
    assert (found.status, found.remedy) == ("fail", "a route for /_matrix/media")


@pytest.mark.parametrize(
    ("nofile", "clients", "status", "words"),
    [
        ("65536", 4096, "ok", "65536 carry 32720 requests"),
        ("1024", 464, "ok", "1024 carry 464 requests"),
        ("1024", 465, "fail", "1024 carry 464 requests at the same time, not 465"),
        ("50", 1, "fail", "50 carry 0 requests"),
    ],
)
def test_every_request_has_two_descriptors(
    nofile: str, clients: int, status: str, words: str
) -> None:
    unit = {"LimitNOFILE": nofile}
    found = limits.check_descriptors(config(), clients, None, unit)
    assert (found.check, found.status) == ("descriptors", status)
    assert found.subject == "LimitNOFILE of synproxy.service"
    assert found.reason.startswith(words)


def test_the_remedy_gives_enough_descriptors() -> None:
    found = limits.check_descriptors(config(), 4096, None, {"LimitNOFILE": "1024"})
    assert found.remedy.startswith("LimitNOFILE=16384 in synproxy.service")
    enough = limits.check_descriptors(config(), 4096, None, {"LimitNOFILE": "16384"})
    assert enough.status == "ok"


def test_the_limit_of_a_running_process_goes_before_the_units() -> None:
    child = Process(1, "python3", ("python3", "-m", "synproxy"))
    found = limits.check_descriptors(config(), 1, child, {"LimitNOFILE": "2"})
    assert found.subject == "running synproxy (pid 1)"
    soft = int(
        next(
            line
            for line in Path("/proc/1/limits").read_text().splitlines()
            if line.startswith("Max open files")
        ).split()[3]
    )
    assert found.reason.startswith(f"{soft} carry ")


@pytest.mark.parametrize("process", [None, Process(2**30, "python3", ("python3",))])
def test_without_service_and_process_the_hard_limit_counts(process: Process | None) -> None:
    found = limits.check_descriptors(config(), 1, process, {})
    assert found.subject == "hard limit of this shell"
    assert found.reason.startswith(f"{resource.getrlimit(resource.RLIMIT_NOFILE)[1]} carry ")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1000, "1000 bytes"),
        (1024, "1 KiB"),
        (52428800, "50 MiB"),
        (1 << 30, "1 GiB"),
    ],
)
def test_sizes_are_never_rounded(count: int, text: str) -> None:
    assert limits.size(count) == text
