"""The shipped files say what the nginx setup says; what they correct is named here."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path

import pytest

from synproxy.config.loader import load, loads
from synproxy.config.model import HashBalance, HealthCheck, ProxyOverrides, Queue, Synapse
from synproxy.config.pcre import compile_regex

ROOT = Path(__file__).parents[3]
NGINX = ROOT / "tests" / "differential" / "seed" / "locations.conf"
WORKERS = load(ROOT / "config" / "synapse-workers.yaml")
PARITY = load(ROOT / "config" / "seed-parity.yaml")


SERVED_BY_MAIN_TOO: dict[str, object] = {
    "health_check": HealthCheck(),
    "restart_hold": 10.0,
    "fallback": "main",
    "unrecognized": "main",
}
FAILOVER: dict[str, dict[str, object]] = {
    **dict.fromkeys(PARITY.pools, SERVED_BY_MAIN_TOO),
    "media": {"health_check": HealthCheck(), "restart_hold": 30.0},
    "initial_sync": {
        **SERVED_BY_MAIN_TOO,
        "fallback": "normal_sync",
        "queue": Queue(number=1000, timeout=60.0),
        "servers": tuple(
            server.model_copy(update={"max_conns": 50})
            for server in PARITY.pools["initial_sync"].servers
        ),
    },
}
"""What the corrected file adds for workers that are lost, restarted or full."""


def regex_route(path: str) -> str:
    """The first route in the corrected file whose regex takes ``path``, as nginx tries them."""
    for route in WORKERS.routes:
        kind, _, pattern = route.location.partition(" ")
        if kind in ("~", "~*"):
            regex = compile_regex(pattern, ignore_case=kind == "~*")
            if regex.search(path.encode()):
                return route.name
    return "main"


def test_the_parity_file_has_nginxs_regexes_character_for_character() -> None:
    written = NGINX.read_text(encoding="utf-8")
    locations = re.findall(r"^location (~\*? .+) \{$", written, re.MULTILINE)
    assert len(locations) == 8
    assert [route.location for route in PARITY.routes] == locations


def test_the_parity_file_keeps_the_map_that_closes_connections() -> None:
    assert PARITY.maps["connection_upgrade"].values == {"": "close"}
    assert WORKERS.maps["connection_upgrade"].values == {"": ""}


def test_both_files_differ_only_in_what_is_corrected() -> None:
    for field in ("listeners", "proxy", "allowlists", "access_log", "shutdown_timeout"):
        assert getattr(WORKERS, field) == getattr(PARITY, field)
    assert WORKERS.http == PARITY.http.model_copy(update={"cors_preflight": True})
    corrected = {"sync", "sliding_sync", "media", "media_admin", "admin", "main"}
    corrected.add("federation_readers")
    kept = [route for route in WORKERS.routes if route.name not in corrected]
    assert kept == [route for route in PARITY.routes if route.name not in corrected]
    sync, written = (
        next(route for route in config.routes if route.name == "sync")
        for config in (WORKERS, PARITY)
    )
    changed = {
        "location": written.location.replace("(r0|v3)", "(r0|v3|unstable)"),
        "proxy": ProxyOverrides(deadline_margin=600.0),
    }
    assert sync == written.model_copy(update=changed)
    assert WORKERS.pools.keys() == {*PARITY.pools, "main"}
    keys = {
        "initial_sync": "$synapse_user",
        "normal_sync": "$synapse_user",
        "federation_requests": "$x_matrix_origin",
    }
    for name, pool in PARITY.pools.items():
        balance = HashBalance(hash=keys[name]) if name in keys else pool.balance
        changed = {"balance": balance, "keepalive_timeout": 50.0, **FAILOVER[name]}
        assert WORKERS.pools[name] == pool.model_copy(update=changed)
    assert WORKERS.synapse == Synapse(whoami="main")


def test_every_worker_is_watched_and_waited_for() -> None:
    for pool in WORKERS.pools.values():
        assert pool.health_check is not None
        assert pool.restart_hold >= 10


def test_every_pool_that_main_can_stand_in_for_falls_back_to_it() -> None:
    def end(name: str) -> str:
        following = WORKERS.pools[name].fallback
        return name if following is None else end(following)

    assert {name: end(name) for name in WORKERS.pools} == {
        **dict.fromkeys(WORKERS.pools, "main"),
        "media": "media",
    }


def test_idle_connections_are_given_up_before_synapse_closes_them() -> None:
    assert {pool.keepalive_timeout for pool in WORKERS.pools.values()} == {50.0}
    assert {pool.keepalive_timeout for pool in PARITY.pools.values()} == {60.0}


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/_matrix/client/v3/sync", "sync"),
        ("/_matrix/client/unstable/sync", "sync"),
        ("/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", "sliding_sync"),
        ("/_matrix/federation/v1/version", "federation_readers"),
        ("/_synapse/admin/v1/user/redact_status/media", "admin"),
        ("/_matrix/media/v3/upload", "media"),
        ("/_matrix/media/v3/upload/example.org/abc", "media"),
        ("/_matrix/media/v1/create", "media"),
        ("/_matrix/media/v3/download/example.org/abc", "media"),
        ("/_matrix/media/r0/thumbnail/example.org/abc", "media"),
        ("/_matrix/client/v1/media/download/example.org/abc", "media"),
        ("/_matrix/federation/v1/media/download/abc", "media"),
        ("/_synapse/admin/v1/purge_media_cache", "media_admin"),
        ("/_synapse/admin/v1/media/example.org/abc", "media_admin"),
        ("/_synapse/admin/v1/quarantine_media/!room:example.org", "media_admin"),
        ("/_synapse/admin/v1/room/!room:example.org/media", "media_admin"),
        ("/_synapse/admin/v1/room/!room:example.org/media/quarantine", "media_admin"),
        ("/_synapse/admin/v1/user/@a:example.org/media/quarantine", "media_admin"),
        ("/_synapse/admin/v1/users/@a:example.org/media", "media_admin"),
        ("/_synapse/admin/v1/users/@a:example.org/login", "admin"),
        ("/_synapse/admin/v1/users/@a:example.org/shadow_ban", "admin"),
        ("/_synapse/admin/v1/users/@a:example.org/override_ratelimit", "admin"),
        ("/_synapse/admin/v2/users", "admin"),
        ("/_synapse/mas/query_user", "admin"),
        ("/_synapse/replication/x", "admin"),
        ("/_synapse/metrics", "admin"),
        ("/metrics", "admin"),
        ("/_matrix/client/v3/rooms/!r:example.org/state/org.example.media", "main"),
        ("/_matrix/client/v3/user/@a:example.org/account_data/media", "main"),
        ("/_matrix/federation/v1/openid/userinfo", "main"),
        ("/_synapse/client/pick_username", "main"),
        ("/metricsx", "main"),
    ],
)
def test_a_corrected_route_takes_what_it_should(path: str, route: str) -> None:
    assert regex_route(path) == route


def test_everything_that_administers_is_private() -> None:
    private = {route.name for route in WORKERS.routes if route.allowlists == ("private",)}
    assert private == {"media_admin", "admin"}


def test_the_documents_in_the_comment_are_good_ones() -> None:
    lines = (ROOT / "config" / "synapse-workers.yaml").read_text(encoding="utf-8").splitlines()
    start = lines.index("# well_known:")
    written = [line.removeprefix("# ") for line in takewhile(bool, lines[start:])]
    assert loads("\n".join(["listeners: [8008]", *written]), "f").well_known.support is not None


DIRECTIVES = """
    pcre_jit worker_rlimit_nofile worker_connections multi_accept
    gzip_comp_level gzip_types gzip_min_length gzip_disable
    client_body_buffer_size client_header_buffer_size client_max_body_size
    http2_max_concurrent_streams keepalive_timeout keepalive_requests large_client_header_buffers
    server_names_hash_bucket_size tcp_nodelay server_tokens
    proxy_buffer_size proxy_buffers proxy_busy_buffers_size
    proxy_connect_timeout proxy_buffering proxy_http_version proxy_read_timeout proxy_redirect
    proxy_send_timeout proxy_socket_keepalive proxy_ssl_verify proxy_set_header
    allow deny satisfy resolver resolver_timeout hash keepalive max_fails
"""


@pytest.mark.parametrize("directive", DIRECTIVES.split())
def test_every_directive_of_the_nginx_setup_has_its_line(directive: str) -> None:
    written = (ROOT / "config" / "synapse-workers.yaml").read_text(encoding="utf-8")
    short = directive.removeprefix("proxy_").removeprefix("gzip_")
    assert re.search(rf"\b{directive}\b|^ +(- )?{short}:", written, re.MULTILINE)
