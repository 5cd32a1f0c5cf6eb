"""Promise 7: no token is written anywhere, whatever the request that carries it, and whatever
becomes of it. A canary goes through every place of a request and every way in which one can fail;
then it is looked for in all that synproxy has said."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from synproxy.cli.main import main
from synproxy.config.variable_names import LOG_VARIABLES
from tests.support.synproxy import Synproxy

CANARY = b"syt_YWxpY2U_CaNaRy_0a1b2c"
OWN = " ".join(f"${name}" for name in sorted(LOG_VARIABLES))

CONFIG = """\
listeners: ["127.0.0.1:@PORT@"]
children: 2
admin: unix:@RUN@/admin.sock
access_log: {path: "@RUN@/access.log", format: '@FORMAT@'}
http:
  {request_id: on, client_max_body_size: 1k, client_header_timeout: 2s, lingering_timeout: 100ms}
proxy: {read_timeout: 500ms, next_upstream_tries: 2}
synapse: {whoami: worker}
allowlists: {nobody: [{deny: all}]}
maps: {nowhere: {source: $request_id, default: ""}}
pools:
  gone: {servers: ["unix:@RUN@/nobody.sock"], health_check: on, fallback: closed}
  closed: {servers: ["unix:@RUN@/nobody.sock"]}
  worker:
    servers: ["unix:@RUN@/worker.sock"]
    unrecognized: gone
    balance: {hash: $synapse_user}
routes:
  - {name: gone, location: /gone, pool: gone}
  - {name: worker, location: /w/, pool: worker}
  - {name: forbidden, location: /forbidden, pool: worker, allowlists: [nobody]}
  - {name: post, location: = /post, methods: [POST], respond: {status: 200}}
  - {name: all, location: /, respond: {status: 404}}
"""

END = b"\r\nHost: a\r\nConnection: close\r\n\r\n"
PLACES = [
    b"GET @ HTTP/1.1\r\nAuthorization: Bearer " + CANARY + END,
    b"GET @ HTTP/1.1\r\nAuthorization: X-Matrix origin=" + CANARY + b',sig="' + CANARY + b'"' + END,
    b"GET @?access_token=" + CANARY + b" HTTP/1.1" + END,
    b"GET @?a=b&access%5Ftoken=" + CANARY + b" HTTP/1.1" + END,
    b"GET @?loginToken=" + CANARY + b"&code=" + CANARY + b"&ticket=" + CANARY + b" HTTP/1.1" + END,
    b"GET @?token=" + CANARY + b"&client_secret=" + CANARY + b"&sid=1 HTTP/1.1" + END,
    b"GET @%3Faccess_token%3D" + CANARY + b" HTTP/1.1" + END,
    b"GET @/registration_tokens/" + CANARY + b" HTTP/1.1" + END,
    b"GET http://a@?access_token=" + CANARY + b" HTTP/1.1" + END,
    b"GET @ HTTP/1.1\r\nReferer: http://a/?loginToken=" + CANARY + END,
    b"GET @ HTTP/1.1\r\nUser-Agent: x ?access_token=" + CANARY + END,
    b"GET @ HTTP/1.1\r\nCookie: session=" + CANARY + END,
    b"GET @ HTTP/1.1\r\nX-Request-Id: " + CANARY + END,
    b"PUT @ HTTP/1.1\r\nContent-Length: %d\r\nHost: a\r\nConnection: close\r\n\r\n%b"
    % (len(CANARY), CANARY),
    b"PUT @ HTTP/1.1\r\nContent-Length: 5000\r\nReferer: /?token=" + CANARY + END,
]
"""@ is the path."""

PATHS = [
    b"/",
    b"/gone",
    b"/forbidden",
    b"/post",
    *(b"/w/" + way for way in (b"ok", b"close", b"nonsense", b"field", b"cut", b"unknown", b"404")),
]

REFUSED = [
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
    b"GET /?access_token=" + CANARY * 1000 + b" HTTP/1.1" + END,
    b"GET / HTTP/1.1\r\nCookie: " + CANARY * 1000 + END,
    CANARY + b" /",
    b"\x00" + CANARY,
]

SLOW = b"GET /w/hang?access_token=" + CANARY + b" HTTP/1.1\r\nAuthorization: " + CANARY + END
LEAVES = b"GET /w/hang?access_token=" + CANARY + b" HTTP/1.1\r\nHost: a\r\n\r\n"

UNRECOGNIZED = b'{"errcode":"M_UNRECOGNIZED","error":"%b"}' % CANARY
ANSWERS = {
    b"ok": b"HTTP/1.1 200 OK\r\nSet-Cookie: %b\r\nContent-Length: 2\r\n\r\nok" % CANARY,
    b"close": b"",
    b"nonsense": CANARY + b"\r\n\r\n",
    b"field": b"HTTP/1.1 200 OK\r\nX " + CANARY + b"\r\n\r\n",
    b"cut": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + CANARY,
    b"unknown": b"HTTP/1.1 9%b %b\r\n\r\n" % (CANARY, CANARY),
    b"404": b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(UNRECOGNIZED), UNRECOGNIZED),
}


@contextlib.contextmanager
def worker(path: Path) -> Iterator[None]:
    """Answers as the second segment of the path says; hangs at /w/hang, knows nobody's token."""

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (data := connection.recv(65536)):
                    return
                head += data
            found = re.match(rb"\S+ /w/(\w+)", head.replace(b"http://a", b""))
            way = found[1] if found is not None else b"whoami"
            if way == b"hang":
                connection.recv(1)  # until the proxy has had enough
                return
            connection.sendall(ANSWERS.get(way, b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(128)
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


def talk(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(request)
        answer = client.makefile("rb")
        with contextlib.suppress(ConnectionError):
            return answer.read()
    return b""


def admin(path: Path, target: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(f"GET {target} HTTP/1.0\r\n\r\n".encode())
        head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
    assert b" 200 " in head
    return body


@pytest.mark.parametrize("format", ["combined", "combined_upstream", "json", OWN], ids=str.split)
def test_no_output_shows_a_token(format: str, sockets: Path) -> None:
    said: dict[str, bytes] = {}
    requests = [place.replace(b"@", path, 1) for path in PATHS for place in PLACES]
    with worker(sockets / "worker.sock"), Synproxy(sockets, CONFIG, {"@FORMAT@": format}) as proxy:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(partial(talk, proxy.port), requests))
            refusals = list(pool.map(partial(talk, proxy.port), REFUSED))
        assert CANARY not in b"".join(refusals)
        assert b" 504 " in talk(proxy.port, SLOW)
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.sendall(LEAVES)
        for target in ("/status", "/metrics"):
            said[target] = admin(sockets / "admin.sock", target)
    said["access log"] = (sockets / "access.log").read_bytes()
    said["process log"] = proxy.log.read_bytes()
    assert said["access log"].count(b"\n") >= len(requests) + len(REFUSED)
    assert said["access log"].count(b"<redacted>") >= len(PATHS) * 6
    for reason in (
        b"closed: ",
        b"invalid_header: ",
        b"refused",
        b"M_UNRECOGNIZED",
        b"read_timeout",
    ):
        assert reason in said["process log"], reason
    assert b"Traceback" not in said["process log"]
    assert json.loads(said["/status"])["errors"]["server"]
    assert [name for name, text in said.items() if CANARY in text] == []


RAW = "\n".join(
    f'192.0.2.7 - - [24/Nov/2025:04:01:0{number} +0100] "GET {target} HTTP/1.1" 200 9'
    f' "http://a/?token={CANARY.decode()}" "Element ?access_token={CANARY.decode()}" {extra}'
    for number, (target, extra) in enumerate(
        [
            (f"/w/ok?access_token={CANARY.decode()}", ""),
            (f"/%zz?access_token={CANARY.decode()}", ""),
            (f"/registration_tokens/{CANARY.decode()}", ""),
            (f"/w/ok?loginToken={CANARY.decode()}", f"Bearer {CANARY.decode()}"),
        ]
    )
)


def test_no_command_shows_a_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that read what others have written, or what an administrator types."""
    token = CANARY.decode()
    file = tmp_path / "synproxy.yaml"
    file.write_text(
        CONFIG.replace("@PORT@", "8008").replace("@RUN@", str(tmp_path)).replace("@FORMAT@", "json")
    )
    other = tmp_path / "other.yaml"
    other.write_text(
        file.read_text().replace("location: /w/, pool: worker", "location: /w/, pool: gone")
    )
    (tmp_path / "raw.log").write_text(RAW + "\nnot a line, access_token=" + token + "\n")
    (tmp_path / "raw.log.gz").write_bytes(gzip.compress(RAW.encode()))
    (tmp_path / "token").write_text(token + "\n")
    log, config = str(tmp_path / "raw.log"), ("--config", str(file))
    field = ("-H", f"Authorization: Bearer {token}", "-H", f"Cookie: a={token}")
    commands: list[tuple[str, ...]] = [
        ("explain", "GET", f"/w/ok?access_token={token}", *field, *config),
        ("explain", "GET", f"/%zz?access_token={token}", *config),
        ("explain", "GET", f"/registration_tokens/{token}", "--json", *field, *config),
        ("replay", log, str(tmp_path / "raw.log.gz"), *config),
        ("replay", log, "--against", str(other), "--json", *config),
        ("replay", log, "--against", str(other), *config),
        ("doctor", "--token-file", str(tmp_path / "token"), "--timeout", "1", *config),
        ("lint", *config),
    ]
    for words in commands:
        assert main(words) in (0, 1, 3)
        said = "".join(capsys.readouterr())
        assert said
        assert token not in said, words
