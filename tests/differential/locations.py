"""A bare nginx with given locations, and one request to it."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.support.nginx import Nginx

CONFIGURATION = """
daemon off;
master_process off;
pid @RUN@/nginx.pid;
error_log @RUN@/error.log;
events {}
http {
    access_log off;
    default_type text/plain;
    client_body_temp_path @RUN@/body;
    proxy_temp_path @RUN@/proxy;
    fastcgi_temp_path @RUN@/fastcgi;
    uwsgi_temp_path @RUN@/uwsgi;
    scgi_temp_path @RUN@/scgi;
    server {
        listen 127.0.0.1:@PORT@;
        LOCATIONS
    }
}
"""


def serve(directory: Path, locations: str) -> Nginx:
    """nginx with these ``location`` blocks; use it as a context manager."""
    return Nginx(directory, {"nginx.conf": CONFIGURATION.replace("LOCATIONS", locations)})


def ask(nginx: Nginx, target: bytes, fields: str = "") -> tuple[int, bytes]:
    """Status and body of one GET on its own connection; ``fields`` end with CRLF each."""
    head = b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + fields.encode() + b"\r\n"
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=10) as connection:
        connection.sendall(b"GET " + target + head)
        answer = b""
        while received := connection.recv(65536):
            answer += received
    start, _, body = answer.partition(b"\r\n\r\n")
    return int(start.split(b" ", 2)[1]), body
