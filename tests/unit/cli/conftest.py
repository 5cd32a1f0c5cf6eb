"""A small configuration with one of everything that the commands show."""

from __future__ import annotations

from pathlib import Path

import pytest

CONFIG = r"""
listeners: ["127.0.0.1:8008"]
allowlists:
  private: [{allow: 192.0.2.0/24}, {deny: all}]
maps:
  sync: {source: $arg_since, values: {"": initial_sync}, default: normal_sync}
  mxid_localpart:
    source: $access_token
    values: {"~^syt_([^_]+)_": $1}
    default: $access_token
  access_token:
    source: $http_authorization
    values: {"~^Bearer (.+)$": $1}
    default: $arg_access_token
pools:
  login: {servers: ["unix:/run/login.sock"]}
  main: {servers: [{address: "127.0.0.1:8080", weight: 2}], balance: least_conn}
  initial_sync: {servers: ["unix:/run/initial1.sock"]}
  normal_sync:
    servers: ["unix:/run/sync1.sock", "unix:/run/sync2.sock", "unix:/run/sync3.sock"]
    balance: {hash: $mxid_localpart}
  media:
    servers: ["unix:/run/media1.sock", "unix:/run/media2.sock"]
    balance: {hash: $remote_addr, method: rendezvous}
routes:
  - {name: login, location: "~ ^/_matrix/client/(r0|v3)/login$", pool: login}
  - name: sync
    location: "~ ^/_matrix/client/(?<version>r0|v3)/sync$"
    methods: [GET]
    pool: $sync
    proxy: {read_timeout: 90s, client_max_body_size: 64k}
  - {name: media, location: /_matrix/media/, pool: media}
  - {name: admin, location: "^~ /_synapse/admin/", pool: main, allowlists: [private]}
  - {name: versions, location: "= /versions", respond: {status: 404}}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "synproxy.yaml"
    path.write_text(CONFIG)
    return str(path)
