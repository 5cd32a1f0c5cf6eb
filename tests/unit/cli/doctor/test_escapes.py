"""Request-targets arrive as they were sent, or it is said how they arrived."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest

from synproxy.cli.doctor.escapes import TARGETS, carry, check_here, check_way_in
from synproxy.config.loader import load
from synproxy.config.model import Config
from synproxy.explain.offline import Offline
from tests.support.fake_synapse import FakeSynapse
from tests.support.paths import ROOT
from tests.unit.cli.doctor.compiled import config, offline

ALIAS = "#synproxy-doctor/%:example.org"
LOOK_UP = "/_matrix/client/v3/directory/room/" + quote(ALIAS, safe="")


async def test_this_synproxy_changes_no_target() -> None:
    assert await carry(config(), list(TARGETS)) == dict(zip(TARGETS, TARGETS, strict=True))


@pytest.mark.parametrize(
    ("name", "forwarded"), [("synapse-workers.yaml", 4), ("seed-parity.yaml", 3)]
)
async def test_the_shipped_configurations_change_no_target(name: str, forwarded: int) -> None:
    shipped = Offline(load(ROOT / "config" / name))
    found = await check_here(shipped)
    assert (found.status, found.reason) == ("ok", f"{forwarded} targets reach the server unchanged")


@pytest.mark.parametrize(
    ("change", "arrives_as"),
    [(unquote, "$a/b+c:example.org"), (lambda target: target.replace("%", "%25"), "%2524a%252F")],
)
async def test_a_proxy_that_changes_targets_is_found_out(change: Any, arrives_as: str) -> None:
    async def changing(config: Config, targets: list[str]) -> Mapping[str, str]:
        return {target: change(target) for target in targets}

    found = await check_here(offline(), changing)
    assert found.status == "fail"
    assert f"{TARGETS[0]} reaches the server as /_matrix/federation/v1/event/" in found.reason
    assert arrives_as in found.reason


async def test_a_target_that_does_not_arrive_is_found_out() -> None:
    async def losing(config: Config, targets: list[str]) -> Mapping[str, str]:
        return {target: target for target in targets[1:]}

    found = await check_here(offline(), losing)
    assert (found.status, "as nothing" in found.reason) == ("fail", True)


async def test_it_is_said_if_it_cannot_be_tried() -> None:
    async def failing(config: Config, targets: list[str]) -> Mapping[str, str]:
        raise PermissionError("no directory for temporary files")

    found = await check_here(offline(), failing)
    assert (found.status, found.reason) == (
        "skip",
        "cannot be tried: no directory for temporary files",
    )


async def test_only_what_is_forwarded_can_be_tried() -> None:
    answered = [{"name": "all", "location": "/", "respond": {"status": 404}}]
    assert (await check_here(offline(routes=answered))).status == "skip"
    one = [{"name": "one", "location": "/_matrix/client/", "pool": "main"}]
    assert "2 targets" in (await check_here(offline(routes=one))).reason


@pytest.mark.parametrize(
    ("on_the_way", "status", "reason"),
    [
        (str, "ok", "%2F and %25 reach Synapse unchanged"),
        (unquote, "fail", "decoded on the way"),
        (lambda target: target.replace("%2F", "/"), "fail", "decoded on the way"),
        (lambda target: target.replace("%", "%25"), "fail", "encoded twice"),
    ],
    ids=["unchanged", "decoded", "slashes decoded", "encoded again"],
)
async def test_synapse_tells_how_an_alias_arrived(
    sockets: Path, on_the_way: Callable[[str], str], status: str, reason: str
) -> None:
    async with FakeSynapse(on_the_way=on_the_way).on(sockets / "a") as address:
        found = await check_way_in(address, 5)
    assert (found.check, found.status) == ("escapes", status)
    assert reason in found.reason
    assert bool(found.remedy) is (status == "fail")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((429, {"errcode": "M_LIMIT_EXCEEDED"}), "429 M_LIMIT_EXCEEDED does not tell"),
        ((200, {"room_id": "!a"}), "200 without an errcode does not tell"),
        ((404, "Not Found"), "404 without an errcode does not tell"),
    ],
)
async def test_other_answers_tell_nothing(sockets: Path, answer: Any, reason: str) -> None:
    async with FakeSynapse(overrides={LOOK_UP: answer}).on(sockets / "a") as address:
        found = await check_way_in(address, 5)
    assert found.status == "skip"
    assert reason in found.reason


@pytest.mark.parametrize("key", [(404, {}), (200, {}), (200, {"server_name": 3})])
async def test_without_the_servers_name_it_cannot_be_asked(sockets: Path, key: Any) -> None:
    synapse = FakeSynapse(overrides={"/_matrix/key/v2/server": key})
    async with synapse.on(sockets / "a") as address:
        found = await check_way_in(address, 5)
    assert (found.status, len(synapse.asked)) == ("skip", 1)


async def test_nobody_answers(sockets: Path) -> None:
    assert (await check_way_in(None, 5)).status == "skip"
    assert (await check_way_in(f"unix:{sockets}/gone", 5)).status == "skip"
