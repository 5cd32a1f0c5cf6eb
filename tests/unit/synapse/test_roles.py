"""A worker is for what Synapse's configuration says, else its name, or what the admin says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synproxy.synapse.catalogue import load_catalogue
from synproxy.synapse.deployment import read_deployment
from synproxy.synapse.roles import BY_NAME, GENERIC, kinds_in_name
from tests.support.synapse_files import SynapseFiles


def roles(files: SynapseFiles, **assigned: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    deployment = read_deployment(load_catalogue(), files.write(), None, assigned)
    return {name: role.kinds for name, role in deployment.roles.items()}


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        # docs and the documented nginx setup
        ("generic_worker1", (GENERIC,)),
        ("inbound_normal_sync3", ("normal_sync",)),
        ("inbound_initial_sync1", ("initial_sync",)),
        ("inbound_federation_reader4", ("federation_reader",)),
        ("inbound_login", ("login",)),
        ("inbound_media_repository1", ("media_repository",)),
        # docker/configure_workers_and_start.py
        ("synchrotron1", ("normal_sync",)),
        ("client_reader2", ("client_reader",)),
        ("federation_inbound1", ("federation_inbound",)),
        ("event_creator1", ("event_creator",)),
        ("user_dir1", ("user_dir",)),
        ("frontend_proxy1", ("encryption",)),
        ("event_persister1", ()),
        ("background_worker1", ()),
        ("federation_sender1", ()),
        ("pusher1", ()),
        # matrix-docker-ansible-deploy
        ("matrix-synapse-worker-room-worker-0", ("event_creator", "room")),
        ("matrix-synapse-worker-sync-worker-1", ("normal_sync",)),
        ("matrix-synapse-worker-generic-worker-0", (GENERIC,)),
        # ess-helm
        ("initial-synchrotron-0", ("initial_sync",)),
        ("sliding-sync-0", ("sliding_sync",)),
        ("sso-login-0", ("sso",)),
        ("receipts-account-0", ()),
        # several words at once, other spellings
        ("login_and_sso", ("login", "sso")),
        ("FederationReader", None),
        ("Federation.Reader", ("federation_reader",)),
        ("sync1_client_reader1", ("normal_sync", "client_reader")),
        # nothing that is known
        ("worker1", None),
        ("fred", None),
        ("", None),
        ("42", None),
    ],
)
def test_a_name_speaks_of_kinds(name: str, kinds: tuple[str, ...] | None) -> None:
    assert kinds_in_name(name) == kinds


def test_names_speak_of_kinds_that_exist() -> None:
    known = {GENERIC, *load_catalogue().kinds}
    assert {kind for kinds in BY_NAME.values() for kind in kinds} <= known


def test_every_stream_is_a_name_that_makes_no_generic_worker() -> None:
    assert {kinds_in_name(stream) for stream in load_catalogue().streams} == {()}


def test_a_writer_is_what_stream_writers_says(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).writers("typing", "receipts")
    assert roles(files) == {"typing_writer1": ("typing",), "receipts_writer1": ("receipts",)}


def test_a_writer_that_has_another_name_is_both(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).writers("typing")
    worker = files.workers.pop("typing_writer1")
    files.workers["sync1"] = {**worker, "worker_name": "sync1"}
    files.shared["stream_writers"]["typing"] = "sync1"
    files.shared["instance_map"]["sync1"] = files.shared["instance_map"].pop("typing_writer1")
    assert roles(files) == {"sync1": ("typing", "normal_sync")}


def test_a_media_worker_is_one_by_its_listener(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).media("pictures").worker("media2", "client")
    assert roles(files) == {"pictures": ("media_repository",), "media2": ()}


def test_a_media_listener_that_synapse_ignores_makes_no_media_worker(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).media("media1").worker("a", "client", "media")
    assert roles(files)["a"] == (GENERIC,)


@pytest.mark.parametrize(
    ("app", "kinds"),
    [
        ("synapse.app.federation_reader", ("federation_reader",)),
        ("synapse.app.synchrotron", ("normal_sync",)),
        ("synapse.app.pusher", ()),
        ("synapse.app.generic_worker", (GENERIC,)),
    ],
)
def test_an_old_application_says_what_it_is(
    tmp_path: Path, app: str, kinds: tuple[str, ...]
) -> None:
    files = SynapseFiles(tmp_path).worker("fred", "client", "federation", worker_app=app)
    assert roles(files) == {"fred": kinds}


def test_a_file_speaks_where_the_name_says_nothing(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path)
    files.worker("login_worker", "client")
    files.workers["login_worker"]["worker_name"] = "fred"
    assert roles(files) == {"fred": ("login",)}


def test_a_worker_without_a_known_name_is_generic_if_it_can_be_asked(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).worker("fred", "client").worker("otto").worker("ida", "metrics")
    assert roles(files) == {"fred": (GENERIC,), "ida": (), "otto": ()}


@pytest.mark.parametrize(
    "setting",
    [
        {"pusher_instances": ["fred"]},
        {"federation_sender_instances": ["otto", "fred"]},
        {"notify_appservices_from_worker": "fred"},
        {"run_background_tasks_on": "fred"},
    ],
)
def test_a_worker_with_work_of_its_own_is_not_generic(
    tmp_path: Path, setting: dict[str, Any]
) -> None:
    assert roles(SynapseFiles(tmp_path).worker("fred", "client").set(**setting)) == {"fred": ()}


def test_the_worker_of_the_user_directory_searches_it_too(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).set(update_user_directory_from_worker="generic_worker1")
    files.worker("generic_worker1", "client").worker("generic_worker2", "client")
    assert roles(files) == {
        "generic_worker1": (GENERIC, "user_dir"),
        "generic_worker2": (GENERIC,),
    }


def test_an_assignment_takes_the_place_of_the_name(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).worker("sync1", "client").worker("sync2", "client")
    assert roles(files, sync2=("login", "sso")) == {
        "sync1": ("normal_sync",),
        "sync2": ("login", "sso"),
    }
    assert roles(files, sync2=("none",))["sync2"] == ()


def test_an_assignment_leaves_the_streams(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).writers("typing")
    assert roles(files, typing_writer1=("login",)) == {"typing_writer1": ("typing", "login")}
