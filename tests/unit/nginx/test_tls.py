"""TLS of nginx as TLS of ours: certificates, versions, HSTS, redirects to https, TLS to servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synproxy.nginx.importer import Imported, import_nginx
from synproxy.nginx.tree import read
from tests.unit.nginx.nginx_files import as_tree, told

CERTIFICATE = "ssl_certificate /c.pem; ssl_certificate_key /c.key;"
OURS = [{"certificate": "/c.pem", "key": "/c.key"}]

# As certbot leaves a server block, with its options-ssl-nginx.conf.
CERTBOT = """\
server {
    server_name m.example;
    location / { proxy_pass http://127.0.0.1:8008; }
    listen [::]:443 ssl ipv6only=on; # managed by Certbot
    listen 443 ssl; # managed by Certbot
    ssl_certificate /etc/letsencrypt/live/m.example/fullchain.pem;
    ssl_certificate_key /etc/letsencrypt/live/m.example/privkey.pem;
    ssl_session_cache shared:le_nginx_SSL:10m;
    ssl_session_timeout 1440m;
    ssl_session_tickets off;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_prefer_server_ciphers off;
    ssl_ciphers "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256";
    ssl_dhparam /etc/letsencrypt/ssl-dhparams.pem;
}
server {
    if ($host = m.example) { return 301 https://$host$request_uri; }
    listen 80; listen [::]:80;
    server_name m.example;
    return 404;
}
"""

# As https://ssl-config.mozilla.org writes it ("intermediate").
MOZILLA = """\
server {
    listen 80 default_server;
    location / { return 308 https://$host$request_uri; }
    location ^~ /.well-known/acme-challenge/ { root /var/www/acme; }
}
server {
    listen 443 ssl;
    server_name m.example;
    ssl_certificate signed.pem; ssl_certificate_key /private.key;
    ssl_certificate ecdsa.pem; ssl_certificate_key /ecdsa.key;
    ssl_session_timeout 1d; ssl_session_cache shared:MozSSL:10m;
    ssl_protocols TLSv1.3;
    ssl_ecdh_curve auto;
    ssl_stapling off;
    add_header Strict-Transport-Security "max-age=63072000; includeSubDomains; preload" always;
    location / { proxy_pass http://127.0.0.1:8008; }
}
"""


def imported(directory: Path, http: str) -> Imported:
    path = directory / "nginx.conf"
    path.write_text(f"events {{ }}\nhttp {{ {http} }}\n")
    return import_nginx(read(path))


def one_server(directory: Path, server: str, http: str = "") -> Imported:
    location = "" if "location / " in server else "location / { proxy_pass http://127.0.0.1:1; }"
    return imported(directory, f"{http} server {{ {server} {location} }}")


def test_what_certbot_leaves_is_carried_over(tmp_path: Path) -> None:
    result = imported(tmp_path, CERTBOT)
    live = "/etc/letsencrypt/live/m.example"
    tls = {
        "certificates": [{"certificate": f"{live}/fullchain.pem", "key": f"{live}/privkey.pem"}],
        "min_version": "TLSv1.2",
        "ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256",
        "session_tickets": False,
    }
    assert as_tree(result)["listeners"] == [
        {"listen": "[::]:443", "ipv6only": True, "tls": tls},
        {"listen": "443", "tls": tls},
        {"listen": "80", "redirect_https": True},
        {"listen": "[::]:80", "redirect_https": True},
    ]
    assert [(name, effect) for _, name, effect in told(result)] == [
        ("ssl_dhparam", "differs"),
        ("return", "differs"),  # 308 where the method has to stay
    ]


def test_what_mozilla_recommends_is_carried_over_whole(tmp_path: Path) -> None:
    result = imported(tmp_path, MOZILLA)
    assert not result.findings
    assert as_tree(result)["listeners"] == [
        {
            "listen": "443",
            "tls": {
                "certificates": [
                    {"certificate": f"{tmp_path}/signed.pem", "key": "/private.key"},
                    {"certificate": f"{tmp_path}/ecdsa.pem", "key": "/ecdsa.key"},
                ],
                "min_version": "TLSv1.3",
                "hsts": {"max_age": "63072000s", "include_subdomains": True, "preload": True},
            },
        },
        {"listen": "80", "acme_webroot": "/var/www/acme", "redirect_https": True},
    ]


@pytest.mark.parametrize(
    ("server", "listeners"),
    [
        (
            "listen 443 ssl http2;",
            [{"listen": "443", "tls": {"certificates": OURS}, "http2": True}],
        ),
        (
            "listen 443 ssl; http2 on;",
            [{"listen": "443", "tls": {"certificates": OURS}, "http2": True}],
        ),
        ("listen 443 ssl; http2 off;", [{"listen": "443", "tls": {"certificates": OURS}}]),
        ("listen 8008 http2;", [{"listen": "8008", "http2": True}]),
        (
            "listen 443 ssl http2; listen 80;",
            [{"listen": "443", "tls": {"certificates": OURS}, "http2": True}, "80"],
        ),
    ],
)
def test_http2_is_carried_over_as_either_version_of_nginx_writes_it(
    tmp_path: Path, server: str, listeners: list[object]
) -> None:
    result = one_server(tmp_path, f"{server} {CERTIFICATE if 'ssl' in server else ''}")
    assert not result.findings
    assert as_tree(result)["listeners"] == listeners


def test_the_number_of_streams_is_carried_over(tmp_path: Path) -> None:
    result = one_server(tmp_path, "listen 80 http2; http2_max_concurrent_streams 64;")
    assert not result.findings
    assert as_tree(result)["http"]["http2_max_concurrent_streams"] == 64


@pytest.mark.parametrize(
    ("server", "findings"),
    [
        (f"{CERTIFICATE} ssl_protocols TLSv1 TLSv1.1 TLSv1.2;", [("ssl_protocols", "differs")]),
        (f"{CERTIFICATE} ssl_protocols TLSv1.2;", [("ssl_protocols", "differs")]),
        (f"{CERTIFICATE} ssl_protocols TLSv1;", [("ssl_protocols", "not carried over")]),
        (f"{CERTIFICATE} ssl_ciphers nonsense;", [("ssl_ciphers", "not carried over")]),
        (
            f"{CERTIFICATE} ssl_prefer_server_ciphers on;",
            [("ssl_prefer_server_ciphers", "differs")],
        ),
        (f"{CERTIFICATE} ssl_stapling on;", [("ssl_stapling", "differs")]),
        (f"{CERTIFICATE} ssl_ecdh_curve X25519;", [("ssl_ecdh_curve", "differs")]),
        (
            f"{CERTIFICATE} add_header Strict-Transport-Security max-age=60;",
            [("add_header", "differs")],
        ),
        (
            f"{CERTIFICATE} add_header Strict-Transport-Security $hsts always;",
            [("add_header", "not carried over")],
        ),
        (f"{CERTIFICATE} ssl_session_timeout 1d; ssl_buffer_size 4k;", []),
    ],
)
def test_what_differs_is_told(tmp_path: Path, server: str, findings: list[tuple[str, str]]) -> None:
    result = one_server(tmp_path, f"listen 443 ssl; {server}")
    assert as_tree(result)["listeners"][0]["tls"]["certificates"] == OURS
    assert [(name, effect) for _, name, effect in told(result)] == findings


@pytest.mark.parametrize(
    "certificate",
    [
        "",
        "ssl_certificate /c.pem;",
        "ssl_certificate /$ssl_server_name.pem; ssl_certificate_key /c.key;",
        "ssl_certificate data:$pem; ssl_certificate_key /c.key;",
    ],
)
def test_a_listener_without_a_certificate_that_can_be_read_is_lost(
    tmp_path: Path, certificate: str
) -> None:
    result = one_server(tmp_path, f"listen 443 ssl; {certificate}")
    assert as_tree(result)["listeners"] == ["127.0.0.1:8008"]
    assert ("listen", "not carried over") in [(name, effect) for _, name, effect in told(result)]


def test_one_block_may_speak_both(tmp_path: Path) -> None:
    result = one_server(tmp_path, f"listen 80; listen 443 ssl; {CERTIFICATE}")
    assert as_tree(result)["listeners"] == ["80", {"listen": "443", "tls": {"certificates": OURS}}]
    assert not result.findings


def test_settings_for_other_blocks_are_no_loss(tmp_path: Path) -> None:
    debian = "ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; ssl_prefer_server_ciphers on;"
    result = one_server(tmp_path, "listen 8008;", debian)
    assert as_tree(result)["listeners"] == ["8008"]
    assert not result.findings


def test_an_old_switch_makes_all_listeners_speak_tls(tmp_path: Path) -> None:
    result = one_server(tmp_path, f"listen 8443; ssl on; {CERTIFICATE}")
    assert as_tree(result)["listeners"] == [{"listen": "8443", "tls": {"certificates": OURS}}]


@pytest.mark.parametrize(
    ("other", "carried"),
    [
        ("listen 80; return 301 https://$host$request_uri;", True),
        ("listen 80; server_name a; return 301 https://$server_name$request_uri;", True),
        ("listen 80; server_name other; return 301 https://$host$request_uri;", False),
        ("listen 80; return 301 https://elsewhere$request_uri;", False),
        ("listen 80; return 301 https://$host:8443$request_uri;", False),
        ("listen 80; location / { return 301 https://$host$request_uri; }", True),
        ("listen 80; location / { root /srv; }", False),
        ("listen 80; location /x { return 301 https://$host$request_uri; }", False),
        ("listen 80; auth_basic x; return 301 https://$host$request_uri;", False),
        ("listen 80; return 404;", False),
        ("listen 443 ssl; server_name a; return 301 https://$host$request_uri;", False),
    ],
)
def test_a_block_that_only_redirects_is_a_listener(
    tmp_path: Path, other: str, *, carried: bool
) -> None:
    result = imported(
        tmp_path,
        f"server {{ listen 443 ssl; server_name a b; {CERTIFICATE} "
        f"location / {{ proxy_pass http://127.0.0.1:1; }} }} server {{ {other} }}",
    )
    listeners = as_tree(result)["listeners"]
    expected = [{"listen": "80", "redirect_https": True}] if carried else []
    assert listeners[1:] == expected
    lost = [name for _, name, effect in told(result) if effect == "not carried over"]
    assert lost == ([] if carried else ["server"])


@pytest.mark.parametrize(
    ("location", "webroot"),
    [
        ("location /.well-known/acme-challenge/ { root /srv/a; }", "/srv/a"),
        ("location ^~ /.well-known/acme-challenge { root /srv/a; }", "/srv/a"),
        (
            "location /.well-known/acme-challenge/ { alias /srv/b/.well-known/acme-challenge/; }",
            "/srv/b",
        ),
        ("location /.well-known/acme-challenge/ { alias /srv/b/; }", None),
        ("location /.well-known/acme-challenge/ { root $x; }", None),
    ],
)
def test_challenges_of_a_certificate_authority_are_answered(
    tmp_path: Path, location: str, webroot: str | None
) -> None:
    result = one_server(tmp_path, f"listen 80; {location}")
    assert as_tree(result)["listeners"] == (
        ["80"] if webroot is None else [{"listen": "80", "acme_webroot": webroot}]
    )
    assert bool(result.findings) == (webroot is None)


def pools(directory: Path, *locations: str, server: str = "") -> tuple[dict[str, Any], Imported]:
    http = "upstream w { server w1.example:8443; server w2.example; }"
    result = one_server(directory, f"listen 80; {server} {' '.join(locations)}", http)
    return as_tree(result)["pools"], result


def test_servers_are_spoken_to_with_tls_as_nginx_does(tmp_path: Path) -> None:
    found, result = pools(
        tmp_path,
        "location / { proxy_pass https://w; }",
        "location /a { proxy_pass https://a.example; }",
        "location /b { proxy_pass https://b.example; proxy_ssl_name b; proxy_ssl_verify on;"
        " proxy_ssl_trusted_certificate /ca.pem; }",
        server="proxy_ssl_session_reuse off; proxy_ssl_server_name on;",
    )
    assert [server["address"] for server in found["w"]["servers"]] == [
        "w1.example:8443",
        "w2.example:443",
    ]
    assert found["w"]["tls"] == {"verify": False, "server_name": "w"}
    assert found["a.example_443"]["tls"] == {"verify": False}
    assert found["b.example_443"]["tls"] == {"ca": "/ca.pem", "server_name": "b"}
    assert not result.findings


def test_one_upstream_is_spoken_to_in_one_way(tmp_path: Path) -> None:
    found, result = pools(
        tmp_path,
        "location / { proxy_pass http://w; }",
        "location /a { proxy_pass https://w; }",
    )
    assert "tls" not in found["w"]
    assert [(name, effect) for _, name, effect in told(result)] == [
        ("proxy_pass", "not carried over")
    ]
