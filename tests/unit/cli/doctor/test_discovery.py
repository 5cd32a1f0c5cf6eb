"""What clients and other servers are told, and whether Synapse agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synproxy.cli.doctor.discovery import CLIENT, SERVER, check_client, check_server
from synproxy.cli.doctor.finding import Finding
from tests.support.fake_synapse import FakeSynapse


def client(base: Any) -> dict[str, Any]:
    return {"m.homeserver": {"base_url": base}}


MATRIX = "https://matrix.example.org"


async def client_without_files(url: Any, synapse: Any, configured: Any, patience: float) -> Finding:
    return await check_client(url, synapse, configured, "", patience)


@pytest.mark.parametrize(
    ("served", "own", "status", "reason"),
    [
        (client(MATRIX), client(f"{MATRIX}/"), "ok", f"base_url {MATRIX}, as Synapse says"),
        (client(MATRIX), None, "ok", f"base_url {MATRIX}"),
        (client(MATRIX), client("https://other"), "warn", "Synapse's public_baseurl https://other"),
        (None, None, "warn", "404: not served here"),
        ({}, None, "fail", "no JSON object with m.homeserver.base_url"),
        (client(8), None, "fail", "no JSON object with m.homeserver.base_url"),
        ({"m.homeserver": MATRIX}, None, "fail", "no JSON object with m.homeserver.base_url"),
        (client("matrix.example.org"), None, "fail", "is no URL"),
        (client("https://"), None, "fail", "is no URL"),
    ],
)
async def test_clients_are_told_a_base_url(
    sockets: Path, served: Any, own: Any, status: str, reason: str
) -> None:
    async with (
        FakeSynapse(client=served).on(sockets / "proxy") as proxy,
        FakeSynapse(client=own).on(sockets / "synapse") as synapse,
    ):
        found = await check_client(proxy, synapse, None, "", 5)
    assert (found.check, found.subject, found.status) == ("well-known", CLIENT, status)
    assert reason in found.reason
    assert bool(found.remedy) is (status != "ok")


@pytest.mark.parametrize(
    ("stated", "status"), [(f"{MATRIX}/", "ok"), ("https://other", "warn"), ("", "ok")]
)
async def test_synapses_files_tell_its_url_where_it_serves_none(
    sockets: Path, stated: str, status: str
) -> None:
    async with FakeSynapse(client=client(MATRIX)).on(sockets / "proxy") as proxy:
        found = await check_client(proxy, None, None, stated, 5)
    assert (found.status, "Synapse" in found.reason) == (status, stated != "")


async def test_browsers_may_read_it(sockets: Path) -> None:
    silent = FakeSynapse(client=client(MATRIX), cors=False)
    async with silent.on(sockets / "a") as proxy:
        found = await check_client(proxy, None, None, "", 5)
    assert found.status == "fail"
    assert "Access-Control-Allow-Origin" in found.reason


@pytest.mark.parametrize(
    ("served", "own", "status", "reason"),
    [
        ({"m.server": "a.example:443"}, {"m.server": "a.example:443"}, "ok", "as Synapse says"),
        ({"m.server": "[2001:db8::1]:8448"}, None, "ok", "m.server [2001:db8::1]:8448"),
        ({"m.server": "a.example:443"}, {"m.server": "b:443"}, "warn", "Synapse says b:443"),
        ({"m.server": "a.example"}, None, "warn", "without a port other servers come to 8448"),
        (None, None, "warn", "404: not served here"),
        ({"m.server": "https://a.example"}, None, "fail", "no JSON object with m.server"),
        ({"m.server": 443}, None, "fail", "no JSON object with m.server"),
        ({}, None, "fail", "no JSON object with m.server"),
    ],
)
async def test_servers_are_told_a_name_with_a_port(
    sockets: Path, served: Any, own: Any, status: str, reason: str
) -> None:
    async with (
        FakeSynapse(server=served).on(sockets / "proxy") as proxy,
        FakeSynapse(server=own).on(sockets / "synapse") as synapse,
    ):
        found = await check_server(proxy, synapse, None, 5)
    assert (found.check, found.subject, found.status) == ("well-known", SERVER, status)
    assert reason in found.reason
    assert bool(found.remedy) is (status != "ok")


@pytest.mark.parametrize("check", [client_without_files, check_server])
async def test_an_error_is_no_answer(check: Any, sockets: Path) -> None:
    broken = FakeSynapse(overrides={CLIENT: (502, {}), SERVER: (502, {})})
    async with broken.on(sockets / "a") as proxy:
        found = await check(proxy, None, None, 5)
    assert (found.status, found.reason) == ("fail", "status 502")


@pytest.mark.parametrize("check", [client_without_files, check_server])
async def test_what_is_not_json_is_no_answer(check: Any, sockets: Path) -> None:
    page = FakeSynapse(overrides={CLIENT: (200, "<html>"), SERVER: (200, "[]")})
    async with page.on(sockets / "a") as proxy:
        assert (await check(proxy, None, None, 5)).status == "fail"


@pytest.mark.parametrize("check", [client_without_files, check_server])
async def test_nobody_answers(check: Any, sockets: Path) -> None:
    assert (await check(None, None, None, 5)).status == "skip"
    assert (await check(f"unix:{sockets}/gone", None, None, 5)).status == "skip"


@pytest.mark.parametrize("check", [client_without_files, check_server])
async def test_a_synapse_that_is_away_contradicts_nobody(check: Any, sockets: Path) -> None:
    served = FakeSynapse(client=client(MATRIX), server={"m.server": "a:443"})
    async with served.on(sockets / "a") as proxy:
        assert (await check(proxy, f"unix:{sockets}/gone", None, 5)).status == "ok"


CONFIGURED = {
    client_without_files: client(MATRIX),
    check_server: {"m.server": "matrix.example.org:443"},
}


@pytest.mark.parametrize("check", [client_without_files, check_server])
async def test_what_will_be_served_is_judged_before_the_start(check: Any) -> None:
    assert (await check(None, None, CONFIGURED[check], 5)).status == "ok"
    assert (await check(None, None, {}, 5)).status == "fail"


@pytest.mark.parametrize("check", [client_without_files, check_server])
async def test_what_is_served_is_what_the_configuration_says(check: Any, sockets: Path) -> None:
    served = FakeSynapse(client=client(MATRIX), server={"m.server": "matrix.example.org:443"})
    async with served.on(sockets / "a") as proxy:
        assert (await check(proxy, None, CONFIGURED[check], 5)).status == "ok"
        found = await check(proxy, None, {"other": "document"}, 5)
    assert (found.status, found.reason) == (
        "warn",
        "what is served is not what the configuration says",
    )
    assert "reload" in found.remedy
