"""What becomes of nginx's directives: their effect, or a line that says that it is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from synproxy.errors import ConfigError
from synproxy.nginx.importer import import_nginx
from synproxy.nginx.tree import read
from tests.unit.nginx.nginx_files import PASS, Routed, as_tree, imported, told, written

LOST = [
    ("location / { auth_basic realm; proxy_pass http://one; }", "auth_basic", "403"),
    ("location / { auth_request /auth; proxy_pass http://one; }", "auth_request", "403"),
    ("location / { proxy_pass https://unix:/one; }", "proxy_pass", "502"),
    ("location /a { proxy_pass http://one/b; }", "proxy_pass", "404"),
    ("location / { proxy_pass http://$http_host; }", "proxy_pass", "502"),
    ("location / { root /srv; }", "root", "404"),
    ("location / { fastcgi_pass 127.0.0.1:9000; }", "fastcgi_pass", "502"),
    ("location / { return 301 https://$host; }", "return", "404"),
    (f"if ($http_x) {{ return 403; }} {PASS}", "if", "one"),
    (f"limit_req zone=z; {PASS}", "limit_req", "one"),
    (f"add_header X-A b; {PASS}", "add_header", "one"),
    (f"proxy_pass_request_headers off; {PASS}", "proxy_pass_request_headers", "one"),
    (f"proxy_pass_request_body off; {PASS}", "proxy_pass_request_body", "one"),
    (f"nobody_knows this; {PASS}", "nobody_knows", "one"),
    (f"location @named {{ }} {PASS}", "location", "one"),
    (f"include missing.conf; {PASS}", "include", "one"),
    ("location / { gzip on; proxy_pass http://one; }", "gzip", "one"),
    ("location / { rewrite ^ /b break; proxy_pass http://one; }", "rewrite", "one"),
]


@pytest.mark.parametrize(("server", "name", "answer"), LOST)
def test_what_is_lost_is_told_and_opens_nothing(
    tmp_path: Path, server: str, name: str, answer: str
) -> None:
    result = imported(tmp_path, server + " location = /elsewhere { proxy_pass http://two; }")
    as_tree(result)
    assert [one for _, one, effect in told(result) if effect == "not carried over"] == [name]
    assert Routed(result)("/") == answer
    assert f"nginx.conf:8: {name}" in result.text


DIFFERS = [
    ("", "upstream h { ip_hash; server 127.0.0.1:1; server 127.0.0.1:2; }", "h", "ip_hash"),
    ("", "upstream h { hash $uri; server 127.0.0.1:1; server 127.0.0.1:2; }", "h", "hash"),
    ("", "upstream h { random two; server 127.0.0.1:1; server 127.0.0.1:2; }", "h", "random"),
    ("", "", "one/", "proxy_pass"),
    ("access_log /var/log/x mine;", "", "one", "access_log"),
    ("access_log /var/log/x mine;", "log_format mine '$host $pipe';", "one", "log_format"),
    ("access_log /var/log/x combined gzip;", "", "one", "access_log"),
    ("access_log /var/log/x combined if=$host;", "", "one", "access_log"),
    ("proxy_next_upstream error http_502;", "", "one", "proxy_next_upstream"),
]


@pytest.mark.parametrize(("server", "http", "upstream", "name"), DIFFERS)
def test_what_differs_is_told(
    tmp_path: Path, server: str, http: str, upstream: str, name: str
) -> None:
    location = f"location / {{ proxy_pass http://{upstream}; }}"
    result = imported(tmp_path, server + location, http)
    as_tree(result)
    assert [(one, effect) for _, one, effect in told(result)] == [(name, "differs")]


def test_settings_have_nginx_s_defaults_and_the_most_common_value_is_the_common_one(
    tmp_path: Path,
) -> None:
    result = imported(
        tmp_path,
        "location /a { proxy_pass http://one; }\n"
        "location /b { proxy_pass http://one; }\n"
        "location /c { proxy_read_timeout 5s; client_max_body_size 3m; proxy_pass http://two; }",
    )
    tree = as_tree(result)
    assert not result.findings
    assert tree["proxy"]["read_timeout"] == "60s"
    assert tree["proxy"]["set_header"] == {"Host": "one", "Connection": "", "Upgrade": ""}
    changed = {route["location"]: route.get("proxy") for route in tree["routes"]}
    assert changed == {
        "/a": None,
        "/b": None,
        "/c": {
            "read_timeout": "5s",
            "client_max_body_size": "3m",
            "set_header": {"Host": "two", "Connection": "", "Upgrade": ""},
        },
    }


def test_a_server_of_several_counts_failures_as_in_nginx(tmp_path: Path) -> None:
    upstream = (
        "upstream s { server 127.0.0.1:1 weight=2 max_conns=3 backup; server h:2 max_fails=0; "
        "server unix:/s down fail_timeout=5s; keepalive 7; }"
    )
    tree = as_tree(imported(tmp_path, "location / { proxy_pass http://s; }", upstream))
    assert tree["pools"]["s"]["keepalive"] == 7
    assert tree["pools"]["s"]["servers"] == [
        {
            "address": "127.0.0.1:1",
            "weight": 2,
            "max_conns": 3,
            "backup": True,
            "max_fails": 1,
        },
        "h:2",
        {"address": "unix:/s", "down": True, "fail_timeout": "5s", "max_fails": 1},
    ]


def test_a_map_chooses_by_hostnames_before_regexes(tmp_path: Path) -> None:
    http = (
        "map $host $pool { hostnames; default one; ~b\\.example two; .a.example two; "
        "*.b.example one; www.c.* two; }"
    )
    result = imported(tmp_path, "location / { proxy_pass http://$pool; }", http)
    assert not result.findings
    routed = Routed(result)
    hosts = ["a.example", "x.a.example", "x.b.example", "b.example", "www.c.org", "d.example"]
    assert [routed("/", host) for host in hosts] == ["two", "two", "one", "two", "two", "one"]


def test_variables_of_set_and_of_nginx_are_written_out(tmp_path: Path) -> None:
    result = imported(
        tmp_path,
        "server_name m.example;\n set $to 127.0.0.1:9009;\n"
        "location / { set $x $server_name; proxy_set_header A $x-${ssl_session_id}b; "
        "proxy_set_header B $binary_remote_addr; proxy_pass http://$to$request_uri; }",
    )
    tree = as_tree(result)
    assert [one for _, one, _ in told(result)] == ["proxy_set_header"]  # $ssl_session_id
    assert tree["proxy"]["set_header"]["B"] == "$remote_addr"
    assert "A" not in tree["proxy"]["set_header"]
    assert tree["pools"]["127.0.0.1_9009"] == {"servers": ["127.0.0.1:9009"]}


def test_matrix_documents_become_well_known(tmp_path: Path) -> None:
    result = imported(
        tmp_path,
        "location /.well-known/matrix/server { default_type application/json; "
        'add_header Access-Control-Allow-Origin *; return 200 \'{"m.server": "m.example:443"}\'; }'
        + PASS,
    )
    assert not result.findings
    assert as_tree(result)["well_known"] == {"server": {"m.server": "m.example:443"}}


def test_an_auth_request_that_asks_whoami_becomes_synapse_user(tmp_path: Path) -> None:
    result = imported(
        tmp_path,
        "location = /_whoami { internal; js_content whoami.handle; }\n"
        "location / { auth_request /_whoami; auth_request_set $user $sent_http_x_user; "
        "proxy_pass http://sync; }",
        "upstream sync { hash $user consistent; server 127.0.0.1:1; server 127.0.0.1:2; }",
    )
    tree = as_tree(result)
    assert tree["pools"]["sync"]["balance"] == {"hash": "$synapse_user"}
    assert tree["synapse"] == {"whoami": "sync"}
    assert {effect for _, _, effect in told(result)} == {"differs"}


def test_lists_of_addresses_are_named_after_their_file(tmp_path: Path) -> None:
    (tmp_path / "private.conf").write_text("allow 10.0.0.0/8;\ndeny all;\n")
    result = imported(
        tmp_path,
        "location /a { include private.conf; proxy_pass http://one; }\n"
        "location /b { include private.conf; satisfy any; proxy_pass http://one; }\n"
        "location /c { deny all; proxy_pass http://one; }",
    )
    tree = as_tree(result)
    assert tree["allowlists"] == {
        "private": [{"allow": "10.0.0.0/8"}, {"deny": "all"}],
        "access": [{"deny": "all"}],
    }
    assert [(route["allowlists"], route.get("satisfy")) for route in tree["routes"]] == [
        (["private"], None),
        (["private"], "any"),
        (["access"], None),
    ]
    assert "allow: 10.0.0.0/8  # private.conf:1" in result.text


def test_one_server_block_is_taken_and_the_others_are_told(tmp_path: Path) -> None:
    path = written(tmp_path, PASS, "server { listen 8048; location / { proxy_pass http://two; } }")
    assert Routed(import_nginx(read(path), "8048"))("/") == "two"
    result = import_nginx(read(path), "8008")
    assert Routed(result)("/") == "one"
    assert [(name, effect) for _, name, effect in told(result)] == [("server", "not carried over")]
    with pytest.raises(ConfigError, match=r"no server block is named x.*8008, 8048"):
        import_nginx(read(path), "x")


def test_a_file_that_includes_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nginx.conf"
    path.write_text("include nginx.conf;\n")
    with pytest.raises(ConfigError, match="include each other"):
        read(path)


def test_trusted_proxies_are_carried_over(tmp_path: Path) -> None:
    server = f"""
        set_real_ip_from 10.0.0.0/8; set_real_ip_from 192.0.2.1; set_real_ip_from unix:;
        real_ip_header X-Forwarded-For; real_ip_recursive on; {PASS}
    """
    result = imported(tmp_path, server)
    assert told(result) == []
    assert as_tree(result)["http"]["trusted_proxies"] == {
        "networks": ["10.0.0.0/8", "192.0.2.1", "unix:"],
        "header": "X-Forwarded-For",
        "recursive": True,
        "proto": False,
    }


def test_a_balancer_that_nginx_believes_is_carried_over(tmp_path: Path) -> None:
    server = f"""
        listen 8009 proxy_protocol; set_real_ip_from 10.0.0.1; real_ip_header proxy_protocol;
        location /x {{ proxy_set_header X-Real-IP $proxy_protocol_addr; proxy_pass http://two; }}
        {PASS}
    """
    result = imported(tmp_path, server)
    tree = as_tree(result)
    assert told(result) == []
    assert tree["listeners"][1] == {"listen": "8009", "proxy_protocol": ["10.0.0.1"]}
    assert "trusted_proxies" not in tree.get("http", {})
    assert "X-Real-IP: $proxy_protocol_addr" in result.text


def test_a_balancer_that_nginx_only_hears_is_told(tmp_path: Path) -> None:
    result = imported(tmp_path, f"listen 8009 proxy_protocol; {PASS}")
    assert as_tree(result)["listeners"][1]["proxy_protocol"] == ["0.0.0.0/0", "::/0", "unix:"]
    assert [(name, effect) for _, name, effect in told(result)] == [("listen", "differs")]


def test_a_trusted_proxy_without_an_address_is_told(tmp_path: Path) -> None:
    result = imported(tmp_path, f"set_real_ip_from proxy.example; {PASS}")
    assert [(name, effect) for _, name, effect in told(result)] == [
        ("set_real_ip_from", "not carried over")
    ]


@pytest.mark.parametrize(
    ("key", "directive", "limits", "effect"),
    [
        ("$binary_remote_addr", "limit_conn z 20;", {"connections_per_address": 20}, "differs"),
        ("$remote_addr", "limit_conn z 7;", {"connections_per_address": 7}, "differs"),
        ("$server_name", "limit_conn z 20;", None, "not carried over"),
        ("$binary_remote_addr", "limit_conn other 20;", None, "not carried over"),
    ],
)
def test_connections_are_limited_by_address(
    tmp_path: Path, key: str, directive: str, limits: object, effect: str
) -> None:
    result = imported(tmp_path, directive + PASS, f"limit_conn_zone {key} zone=z:10m;")
    assert as_tree(result).get("limits") == limits
    assert [(name, what) for _, name, what in told(result)] == [("limit_conn", effect)]
