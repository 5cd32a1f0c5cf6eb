"""A log format of one's own writes the line that nginx writes."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from synproxy.nginx.importer import import_nginx
from synproxy.nginx.tree import read
from tests.support.nginx import Nginx
from tests.support.process import ProxyProcess
from tests.support.synproxy import Synproxy

NAMES = (
    *("args", "host", "http_referer", "http_user_agent", "query_string"),
    *("remote_addr", "remote_user", "request", "request_method", "request_uri", "scheme"),
    *("server_protocol", "status", "upstream_addr", "upstream_status"),
)
FORMAT = "{" + ",".join(f'"{name}":"${name}"' for name in NAMES) + "}"
NGINX = """\
daemon off; worker_processes 1; pid @RUN@/nginx.pid; events {}
http {
  log_format mine escape=@ESCAPE@ '@FORMAT@';
  access_log @RUN@/access.log mine;
  server { listen 127.0.0.1:@PORT@; location / { return 404; } }
}
"""
SYNPROXY = """\
listeners: ["127.0.0.1:@PORT@"]
access_log: {path: "@RUN@/access.log", escape: @ESCAPE@, format: '@FORMAT@'}
routes: [{name: all, location: /, respond: {status: 404}}]
"""
REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n",
    b'GET /x%20y?a=b&c=%2F HTTP/1.1\r\nHost: A.example:80\r\nUser-Agent: Element "1"\r\n',
    b"POST /a/../b HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nReferer: http://a/\\b?c\r\n",
    b"GET /utf HTTP/1.1\r\nHost: a\r\nUser-Agent: \xc3\xa9\t/\r\n",
    b"HEAD /%7F HTTP/1.0\r\nHost: a\r\n",
]


IMPORTED = (
    NGINX.replace("@ESCAPE@", "default")
    .replace(
        "'@FORMAT@';",
        """
    '$remote_addr|$Remote_User|$request|${status}x|$body_bytes_sent|$http_referer'
    '|$http_user_agent|$server_name|$upstream_addr|$scheme';""",
    )
    .replace("location / { return 404; }", "server_name a.example; location / { return 204; }")
)


def lines(proxy: ProxyProcess, directory: Path) -> list[str]:
    with proxy:
        for request in REQUESTS:
            with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as client:
                client.sendall(request + b"Connection: close\r\n\r\n")
                client.makefile("rb").read()
    return (directory / "access.log").read_text("utf-8").splitlines()


@pytest.mark.parametrize("escape", ["default", "json"])
def test_the_lines_of_a_format_are_nginx_s(escape: str, tmp_path: Path) -> None:
    directories = [tmp_path / "nginx", tmp_path / "synproxy"]
    for directory in directories:
        directory.mkdir()
    values = {"ESCAPE": escape, "FORMAT": FORMAT}
    nginx = lines(Nginx(directories[0], {"nginx.conf": NGINX}, values), directories[0])
    synproxy = Synproxy(
        directories[1], SYNPROXY, {f"@{key}@": value for key, value in values.items()}
    )
    ours = lines(synproxy, directories[1])
    assert ours == nginx
    assert len(ours) == len(REQUESTS)
    if escape == "json":
        assert json.loads(ours[1])["http_user_agent"] == 'Element "1"'


def test_the_lines_of_an_imported_format_are_nginx_s(tmp_path: Path) -> None:
    directories = [tmp_path / "nginx", tmp_path / "synproxy"]
    for directory in directories:
        directory.mkdir()
    written = tmp_path / "nginx.conf"
    written.write_text(IMPORTED.replace("@PORT@", "8008"))
    result = import_nginx(read(written))
    assert not result.findings
    config = result.text.replace("127.0.0.1:8008", "127.0.0.1:@PORT@")
    nginx = lines(Nginx(directories[0], {"nginx.conf": IMPORTED}, {}), directories[0])
    ours = lines(Synproxy(directories[1], config, {}), directories[1])
    assert len(ours) == len(REQUESTS)
    assert ours == nginx
