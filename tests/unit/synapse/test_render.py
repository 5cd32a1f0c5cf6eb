"""What is written is the same every time, reads back as planned, and is pleasant to read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from synproxy.config.loader import loads
from synproxy.config.model import Config, HashBalance, RequestId
from synproxy.synapse.render import WIDTH, Choices, scalar
from synproxy.synapse.source import SynapseSource
from tests.support.synapse_files import ALL_KINDS, GENERIC, STREAMS, SynapseFiles

CASES = Path(__file__).parent / "cases"


def small(directory: Path) -> SynapseFiles:
    """Two generic workers, two that sync, media, a writer: every section has something to say."""
    files = SynapseFiles(directory).several(GENERIC).writers("typing").media("media1")
    for name in ("initial_sync1", "sync1", "sync2"):
        files.worker(name, "client")
    files.shared["listeners"][0]["request_id_header"] = "X-Request-Id"
    return files.set(public_baseurl="https://matrix.example.org/", max_upload_size="100M")


def everything(directory: Path) -> SynapseFiles:
    files = SynapseFiles(directory).several(ALL_KINDS).several(GENERIC).media("media1", "media2")
    files.writers(*STREAMS, "device_lists").worker("sso1", "client")
    files.workers.pop("mas_helper1")
    return files.set(oidc_providers=[{"idp_id": "x"}])


def text(files: SynapseFiles) -> str:
    return SynapseSource(tuple(files.write())).text()


def config(files: SynapseFiles, choices: Choices | None = None) -> Config:
    source = SynapseSource(tuple(files.write()), choices=choices or Choices())
    return loads(source.text(), "synproxy.yaml")


def test_the_whole_text_is_as_agreed(tmp_path: Path) -> None:
    """To renew: copy what is written over cases/small.yaml, and read the difference."""
    written = text(small(tmp_path)).replace(str(tmp_path), "/etc/matrix-synapse")
    (tmp_path / "small.yaml").write_text(written)
    assert written == (CASES / "small.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("build", [SynapseFiles, small, everything])
def test_the_same_files_give_the_same_text(tmp_path: Path, build: type[SynapseFiles]) -> None:
    assert text(build(tmp_path)) == text(build(tmp_path))


@pytest.mark.parametrize("build", [SynapseFiles, small, everything])
def test_prose_stays_within_the_width(tmp_path: Path, build: type[SynapseFiles]) -> None:
    lines = text(build(tmp_path)).splitlines()
    assert [line for line in lines if len(line) > WIDTH and "location:" not in line] == []


def test_every_pool_has_a_use(tmp_path: Path) -> None:
    loaded = config(everything(tmp_path))
    used = {route.pool for route in loaded.routes} - {"$sync"}
    used |= {*loaded.maps["sync"].values.values(), loaded.maps["sync"].default}
    used |= {pool.fallback for pool in loaded.pools.values()}
    assert set(loaded.pools) <= used


def test_bodies_are_bounded_as_in_synapse(tmp_path: Path) -> None:
    loaded = config(small(tmp_path))
    assert loaded.http.client_max_body_size == 200 * 65536
    sizes = {route.name: route.proxy.client_max_body_size for route in loaded.routes}
    assert {name for name, size in sizes.items() if size} == {
        "media",
        "client_media",
        "federation_media",
    }
    assert sizes["media"] == 100 << 20


def test_nobody_administers_unless_it_is_said(tmp_path: Path) -> None:
    files = small(tmp_path)
    assert [rule.deny for rule in config(files).allowlists["private"].rules] == ["all"]
    allowed = config(files, Choices(allow=("192.0.2.0/24", "2001:db8::1")))
    assert [rule.allow or rule.deny for rule in allowed.allowlists["private"].rules] == [
        "192.0.2.0/24",
        "2001:db8::1",
        "all",
    ]
    private = {route.name for route in allowed.routes if route.allowlists}
    assert {"admin", "metrics", "admin_room", "purge_media_cache"} <= private


def test_clients_connect_where_it_is_said(tmp_path: Path) -> None:
    chosen = Choices(listen=("127.0.0.1:80", "unix:/run/synproxy/http.sock"))
    listeners = config(small(tmp_path), chosen).listeners
    assert [one.listen for one in listeners] == list(chosen.listen)


def test_a_port_that_synapse_uses_is_not_taken(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path)
    files.shared["listeners"][0].pop("path")
    files.shared["listeners"][0]["port"] = 8008
    assert [one.listen for one in config(files).listeners] == ["8009", "[::]:8009"]


def test_users_and_rooms_stay_with_their_worker(tmp_path: Path) -> None:
    loaded = config(everything(tmp_path))
    hashed = {
        name: pool.balance.hash
        for name, pool in loaded.pools.items()
        if isinstance(pool.balance, HashBalance)
    }
    assert hashed["normal_sync"] == "$synapse_user"
    assert hashed["event_creator"] == hashed["generic_by_room"] == "$room_id"
    assert hashed["generic_by_origin"] == "$x_matrix_origin"
    assert "client_reader" not in hashed
    assert loaded.synapse.whoami == "client_reader"


def test_nobody_is_asked_whose_a_token_is_where_nothing_depends_on_it(tmp_path: Path) -> None:
    assert config(SynapseFiles(tmp_path)).synapse.whoami is None


def test_first_syncs_are_bounded_and_wait_by_turns(tmp_path: Path) -> None:
    pool = config(small(tmp_path)).pools["initial_sync"]
    assert [server.max_conns for server in pool.servers] == [50]
    assert pool.queue is not None
    assert pool.balance == HashBalance(hash="$synapse_user")


def test_workers_that_are_two_things_have_their_servers_written_twice(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).worker("sync1", "client").worker("sync2", "client")
    assigned = dict.fromkeys(("sync1", "sync2"), ("initial_sync", "normal_sync"))
    source = SynapseSource(tuple(files.write()), assigned=assigned)
    pools = loads(source.text(), "synproxy.yaml").pools
    assert {s.max_conns for s in pools["initial_sync"].servers} == {50}
    assert {s.max_conns for s in pools["normal_sync"].servers} == {0}


def test_the_request_id_of_synapses_log_is_ours(tmp_path: Path) -> None:
    loaded = config(small(tmp_path))
    assert loaded.http.request_id == RequestId(header="X-Request-Id")
    assert config(SynapseFiles(tmp_path)).http.request_id is None


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1))
def test_a_scalar_reads_back_as_it_was(value: str) -> None:
    assert yaml.safe_load(scalar(value)) == value
    assert yaml.safe_load(f"{{a: [{scalar(value)}], b: {scalar(value)}}}") == {
        "a": [value],
        "b": value,
    }
