"""Each endpoint is planned for a pool of processes that serve it, and stays with one if it must."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synproxy.config.loader import loads
from synproxy.synapse.catalogue import load_catalogue
from synproxy.synapse.deployment import read_deployment
from synproxy.synapse.notes import notes
from synproxy.synapse.plan import Plan, make_plan
from synproxy.synapse.source import SynapseSource
from synproxy.synapse.version import parse_version
from tests.support.synapse_files import GENERIC, SynapseFiles, http, socket

MAS = {"matrix_authentication_service": {"enabled": True, "secret": "x"}}


def plan(files: SynapseFiles, version: str = "1.163", **assigned: tuple[str, ...]) -> Plan:
    catalogue = load_catalogue()
    deployment = read_deployment(catalogue, files.write(), parse_version(version), assigned)
    return make_plan(catalogue, deployment)


def routes(planned: Plan) -> dict[str, str]:
    return {r.endpoint.name: r.pool for group in planned.groups for r in group.routes}


def servers(planned: Plan, pool: str) -> tuple[str, ...]:
    return tuple(Path(server).stem for server in planned.pools[pool].servers)


def said(files: SynapseFiles, version: str = "1.163") -> list[str]:
    return notes(load_catalogue(), plan(files, version))


def test_a_homeserver_without_workers_has_one_pool_and_keeps_its_admin_api_closed(
    tmp_path: Path,
) -> None:
    planned = plan(SynapseFiles(tmp_path))
    assert list(planned.pools) == ["main"]
    assert all(group.group.private or group.group.upload for group in planned.groups)
    assert {"admin", "metrics", "media", "admin_media"} <= routes(planned).keys()
    assert planned.prefixes == {"/": "main"}


def test_generic_workers_stand_in_for_what_nobody_else_is(tmp_path: Path) -> None:
    planned = plan(SynapseFiles(tmp_path).several(GENERIC).worker("login1", "client"))
    found = routes(planned)
    assert found["login"] == "login"
    assert found["keys_query"] == found["versions"] == found["federation_event"] == "generic"
    assert found["sync"] == "generic_by_user"
    assert found["messages"] == found["send"] == "generic_by_room"
    assert found["federation_send"] == "generic_by_origin"
    assert planned.pools["login"].fallback == "generic"
    assert planned.pools["generic"].fallback == "main"


def test_one_worker_needs_no_key(tmp_path: Path) -> None:
    planned = plan(SynapseFiles(tmp_path).worker("generic_worker1", "client"))
    assert set(planned.pools) == {"main", "generic"}
    assert planned.pools["generic"].key == ""


def test_a_first_sync_goes_to_its_own_workers(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path)
    for name in ("initial_sync1", "sync1", "sync2"):
        files.worker(name, "client")
    planned = plan(files)
    assert routes(planned)["sync"] == "$sync"
    assert planned.sync == {"initial": "initial_sync", "later": "normal_sync"}
    assert routes(planned)["sliding_sync"] == routes(planned)["events"] == "normal_sync"
    assert routes(planned)["initial_sync"] == "initial_sync"
    assert planned.pools["initial_sync"].fallback == "normal_sync"
    assert planned.pools["normal_sync"].fallback == "main"


def test_without_workers_for_it_a_first_sync_is_like_any_other(tmp_path: Path) -> None:
    planned = plan(SynapseFiles(tmp_path).worker("sync1", "client").worker("sync2", "client"))
    assert routes(planned)["sync"] == "normal_sync"
    assert planned.sync == {}
    assert planned.pools["normal_sync"].key == "user"


def test_workers_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path)
    for number in (10, 9, 1):
        files.worker(f"sync{number}", "client")
    assert servers(plan(files), "normal_sync") == ("sync1", "sync9", "sync10")


def test_a_kind_stands_in_for_a_more_special_one(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path)
    for name in ("client_reader1", "client_reader2"):
        files.worker(name, "client")
    for name in ("federation_reader1", "federation_reader2"):
        files.worker(name, "federation")
    found = routes(plan(files))
    assert found["keys_query"] == found["login"] == found["user_directory"] == "client_reader"
    assert found["messages"] == "client_reader_by_room"
    assert found["federation_send"] == "federation_reader_by_origin"
    assert "send" not in found  # nobody creates events, so main does
    assert "event_creator" in plan(files).left_to_main


def test_writers_get_their_streams_and_readers_the_rest(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).several(GENERIC).writers("typing", "to_device", "push_rules")
    planned = plan(files)
    found = routes(planned)
    assert found["typing"] == "typing"
    assert found["pushrules"] == "push_rules"
    assert "pushrules_read" not in found
    assert servers(planned, found["send_to_device"]) == ("to_device_writer1",)
    assert found["account_data_read"] == found["presence_read"] == "generic"
    assert "receipt" not in found


def test_only_what_another_process_can_write_has_a_fallback(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).writers("typing", "push_rules", "to_device", "presence")
    files.media("media1").worker("sso1", "client").set(oidc_providers=[{"idp_id": "a"}])
    fallbacks = {name: pool.fallback for name, pool in plan(files).pools.items()}
    assert fallbacks == {
        "main": "",
        "typing": "",
        "push_rules": "",
        "to_device_writer1": "main",
        "presence_writer1": "main",
        "media_repository": "",
        "sso": "",
    }


def test_a_worker_that_writes_several_streams_has_one_pool_for_those_that_can_fall_back(
    tmp_path: Path,
) -> None:
    files = SynapseFiles(tmp_path).writers("to_device")
    worker = files.workers["to_device_writer1"]
    files.shared["stream_writers"] = dict.fromkeys(
        ("to_device", "receipts", "presence"), worker["worker_name"]
    )
    assert set(plan(files).pools) == {"main", "to_device_writer1"}


def test_several_writers_of_a_stream_keep_each_user(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).writers("receipts", "typing")
    files.shared["stream_writers"]["receipts"].append("typing_writer1")
    planned = plan(files)
    assert planned.pools["receipts"].key == "user"
    assert servers(planned, "receipts") == ("receipts_writer1", "typing_writer1")


def test_media_goes_to_the_media_workers_for_everybody(tmp_path: Path) -> None:
    planned = plan(SynapseFiles(tmp_path).media("media1", "media2"))
    found = routes(planned)
    assert found["media"] == found["client_media"] == found["federation_media"]
    assert servers(planned, found["admin_media"]) == ("media1", "media2")
    assert planned.pools["media_repository"].unrecognized == ""


def test_main_with_separate_listeners_has_two_pools(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path)
    files.shared["listeners"][0] = http(socket("main"), "client")
    files.shared["listeners"].append(http(socket("main_federation"), "federation"))
    files.worker("federation_reader1", "federation")
    planned = plan(files)
    assert planned.prefixes == {
        "/_matrix/federation/": "main_federation",
        "/_matrix/key/": "main_federation",
        "/": "main",
    }
    assert planned.pools["federation_reader"].fallback == "main_federation"
    assert routes(planned)["openid_userinfo"] == "main_federation"


def test_main_without_federation_still_answers_openid(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).worker("sync1", "client")
    files.shared["listeners"][0] = http(socket("main"), "client")
    files.shared["listeners"].append(http(socket("openid"), "openid"))
    planned = plan(files)
    assert routes(planned)["openid_userinfo"] == "main_openid"
    assert "Main has no listener for federation: other servers get 404." in said(files)


def test_a_unix_socket_is_preferred(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path)
    files.shared["listeners"].insert(
        0, {"type": "http", "port": 8008, "resources": [{"names": ["client", "federation"]}]}
    )
    assert servers(plan(files), "main") == ("main",)


@pytest.mark.parametrize(
    ("listener", "instance", "address"),
    [
        ({"port": 8083}, None, "127.0.0.1:8083"),
        ({"port": 8083, "bind_addresses": ["::", "0.0.0.0"]}, None, "127.0.0.1:8083"),
        ({"port": 8083, "bind_address": "10.0.0.5"}, None, "10.0.0.5:8083"),
        ({"port": 8083, "bind_addresses": ["::1"]}, None, "[::1]:8083"),
        ({"port": 8083, "bind_addresses": ["localhost"]}, None, "127.0.0.1:8083"),
        ({"port": 8083}, {"host": "localhost", "port": 1}, "127.0.0.1:8083"),
        ({"port": 8083}, {"host": "sync1.internal", "port": 1}, "sync1.internal:8083"),
    ],
)
def test_a_tcp_listener_is_reached_where_it_listens_or_where_instance_map_says(
    tmp_path: Path, listener: dict[str, Any], instance: dict[str, Any] | None, address: str
) -> None:
    files = SynapseFiles(tmp_path)
    resources = [{"names": ["client"]}]
    files.worker("sync1", worker_listeners=[{"type": "http", "resources": resources, **listener}])
    if instance:
        files.shared["instance_map"]["sync1"] = instance
    assert plan(files).pools["normal_sync"].servers == (address,)


def test_mas_takes_the_logins_where_synapse_says_it_is(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).set(**MAS).several(GENERIC)
    planned = plan(files)
    assert planned.pools["mas"].servers == ("localhost:8080",)
    assert routes(planned)["mas_compat"] == "mas"
    assert "login" not in routes(planned)
    assert routes(planned)["register"] == "generic"
    assert routes(planned)["mas_synapse"] == "generic"
    assert said(files) == []


@pytest.mark.parametrize(
    "settings",
    [
        {
            "matrix_authentication_service": {
                "enabled": True,
                "endpoint": "https://mas.example.org/",
            }
        },
        {"matrix_authentication_service": {"enabled": True, "endpoint": "http://h/somewhere/"}},
        {"experimental_features": {"msc3861": {"enabled": True, "issuer": "https://x/"}}},
    ],
)
def test_mas_that_cannot_be_asked_without_tls_is_left_to_the_administrator(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    files = SynapseFiles(tmp_path).set(**settings)
    assert "mas" not in plan(files).pools
    assert "Add a pool for it, and a route before" in said(files)[0]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"oidc_providers": [{"idp_id": "a"}]}, {"sso_redirect", "sso_oidc"}),
        ({"oidc_config": {"enabled": True}}, {"sso_redirect", "sso_oidc"}),
        ({"oidc_config": {"issuer": "x"}}, set()),
        ({"saml2_config": {"sp_config": {}}}, {"sso_redirect", "sso_saml2"}),
        ({"saml2_config": {"enabled": False}}, set()),
        ({"cas_config": {"server_url": "x"}}, {"sso_redirect", "sso_cas"}),
        ({"oidc_providers": []}, set()),
    ],
)
def test_single_sign_on_goes_to_one_worker_if_there_is_one(
    tmp_path: Path, settings: dict[str, Any], expected: set[str]
) -> None:
    files = SynapseFiles(tmp_path).set(**settings).worker("login1", "client")
    named = {"sso_redirect", "sso_oidc", "sso_saml2", "sso_cas"}
    assert named & routes(plan(files)).keys() == set()
    assigned = routes(plan(files, login1=("login", "sso") if expected else ("login",)))
    assert named & assigned.keys() == expected
    assert {assigned[name] for name in expected} <= {"sso"}


def test_an_experimental_feature_brings_its_endpoints(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).several(GENERIC)
    assert "dehydrated_device" not in routes(plan(files))
    assert "sliding_sync" in routes(plan(files))
    files.set(experimental_features={"msc3814_enabled": True, "msc3575_enabled": False})
    assert "dehydrated_device" in routes(plan(files))
    assert "sliding_sync" not in routes(plan(files))


def test_an_older_synapse_has_fewer_endpoints(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).several(GENERIC)
    assert "federation_version" in routes(plan(files, "1.130"))
    assert "federation_version" not in routes(plan(files, "1.129"))


def test_a_version_that_is_not_known_is_said_to_be_so(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path)
    assert "newer than what is known here" in said(files, "1.999")[0]
    assert "older than what is known here" in said(files, "1.50")[0]
    assert said(files) == []


def test_media_workers_of_some_versions_need_more_resources(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).media("media1")
    needs = [note for note in said(files, "1.112") if note.startswith("media1 needs")]
    assert [note.split('"')[1] for note in needs] == ["client", "federation"]
    assert said(files, "1.110") == said(files, "1.114") == []


def test_a_listener_that_does_not_believe_the_proxy_is_pointed_out(tmp_path: Path) -> None:
    resources = [{"names": ["client"]}]
    files = SynapseFiles(tmp_path).worker(
        "sync1", worker_listeners=[{"type": "http", "port": 8083, "resources": resources}]
    )
    assert (
        f'Set "x_forwarded: true" for the listener in {tmp_path}/workers/sync1.yaml:4'
        in said(files)[0]
    )


def test_files_of_a_directory_that_are_none_of_ours_are_named(tmp_path: Path) -> None:
    (tmp_path / "log.yaml").write_text("version: 1\nhandlers: {}\n")
    (tmp_path / "bridge.yaml").write_text("as_token: a\nhs_token: b\n")
    files = SynapseFiles(tmp_path)
    files.write()
    deployment = read_deployment(load_catalogue(), [tmp_path])
    assert [Path(file).name for file in deployment.files.skipped] == ["bridge.yaml", "log.yaml"]


def test_later_files_win_as_in_synapse(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).set(max_upload_size="10M")
    files.write()
    more = tmp_path / "more.yaml"
    more.write_text("max_upload_size: 1048576\n")
    deployment = read_deployment(load_catalogue(), [files.homeserver, more])
    assert deployment.max_upload_size == 1 << 20


@pytest.mark.parametrize("version", ["1.98", "1.114", "1.130", "1.135", "1.144", "1.163"])
def test_what_is_planned_can_be_loaded_in_every_version(tmp_path: Path, version: str) -> None:
    files = SynapseFiles(tmp_path).several(GENERIC).media("media1").writers("typing")
    text = SynapseSource(tuple(files.write()), parse_version(version)).text()
    assert len(loads(text, "synproxy.yaml").routes) > 100
