"""Promise 7: no token is ever written to a log, whatever the request that carries it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.synproxy import Synproxy

CANARY = b"syt_YWxpY2U_CaNaRy_0a1b2c"

CONFIG = """\
listeners: ["127.0.0.1:@PORT@"]
access_log: {path: "@RUN@/access.log", format: @FORMAT@}
pools: {gone: {servers: ["unix:@RUN@/nobody.sock"]}}
routes:
  - {name: gone, location: /gone, pool: gone}
  - {name: all, location: /, respond: {status: 404}}
"""

END = b"\r\nHost: a\r\nConnection: close\r\n\r\n"
REQUESTS = [
    b"GET / HTTP/1.1\r\nAuthorization: Bearer " + CANARY + END,
    b"GET /?access_token=" + CANARY + b" HTTP/1.1" + END,
    b"GET /?a=b&access%5Ftoken=" + CANARY + b" HTTP/1.1" + END,
    b"GET /gone?access_token=" + CANARY + b" HTTP/1.1" + END,
    b"GET /gone%3Faccess_token%3D" + CANARY + b" HTTP/1.1" + END,
    b"GET /gone/registration_tokens/" + CANARY + b" HTTP/1.1" + END,
    b"GET / HTTP/1.1\r\nReferer: http://a/?loginToken=" + CANARY + END,
    b"GET / HTTP/1.1\r\nCookie: session=" + CANARY + END,
    # refused, each for another reason
    b"GET / HTTP/1.1\nAuthorization: Bearer " + CANARY + END,
    b"GET /\nAuthorization: Bearer " + CANARY + b" HTTP/1.1" + END,
    b"Authorization: Bearer " + CANARY + END,
    b"GET /?access_token=a " + CANARY + b" HTTP/1.1" + END,
    b"GET /?access_token=%zz" + CANARY + b" HTTP/1.1" + END,
    b"GET /%zz?access_token=" + CANARY + b" HTTP/1.1" + END,
    b"GET / HTTP/1.1\r\nAuthorization : Bearer " + CANARY + END,
    b"GET / HTTP/1.1\r\nAuthorization: a\r\nAuthorization: " + CANARY + END,
    b"GET / HTTP/1.1\r\nAuthorization: Bearer\r\n " + CANARY + END,
    b"GET / HTTP/1.1\r\nHost: a b\r\nAuthorization: Bearer " + CANARY + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nTransfer-Encoding: " + CANARY + END,
    b"GET / HTTP/1.1\r\nContent-Length: " + CANARY + END,
    b"GET / HTTP/1.1\r\nExpect: " + CANARY + END,
    b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + CANARY + b"\r\n",
    CANARY + b" /",
    b"\x00" + CANARY,
]


@pytest.mark.parametrize("name", ["combined", "combined_upstream", "json"])
def test_no_request_gets_its_token_into_a_log(name: str, tmp_path: Path) -> None:
    with Synproxy(tmp_path, CONFIG, {"@FORMAT@": name}) as proxy:
        for request in REQUESTS:
            with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as client:
                client.sendall(request)
                client.shutdown(socket.SHUT_WR)
                answer = client.makefile("rb").read()
            assert CANARY not in answer
    logged = (tmp_path / "access.log").read_bytes()
    assert logged.count(b"\n") >= len(REQUESTS) - 2
    assert b"<redacted>" in logged
    assert CANARY not in logged
    assert CANARY not in proxy.log.read_bytes()
