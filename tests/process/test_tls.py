"""TLS of a running synproxy, as testssl.sh looks at it: versions, ciphers, names, resumption."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.process.endurance import ask
from tests.support.certificates import make_certificate
from tests.support.synproxy import Synproxy

CONFIG = """\
listeners:
  - listen: "127.0.0.1:@PORT@"
    tls:
      certificates:
        - {certificate: @RUN@/first.pem, key: @RUN@/first.key}
        - {certificate: @RUN@/second.pem, key: @RUN@/second.key}
      hsts: {max_age: 180d, include_subdomains: on}
  - {listen: "unix:@RUN@/plain.sock", redirect_https: on, acme_webroot: @RUN@}
access_log: off
children: 1
maps:
  seen: {source: $https$scheme$ssl_protocol, values: {onhttpsTLSv1.3: here}, default: gone}
pools:
  here: {servers: ["unix:@RUN@/none.sock"]}
  gone: {servers: ["unix:@RUN@/none.sock"]}
routes:
  - {name: version, location: /version, respond: {status: 404}}
"""
GET = b"GET /version HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def proxy(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Synproxy]:
    directory = tmp_path_factory.mktemp("tls")
    make_certificate(directory, "first", "a.example")
    make_certificate(directory, "second", "b.example", "*.c.example")
    challenges = directory / ".well-known" / "acme-challenge"
    challenges.mkdir(parents=True)
    (challenges / "token").write_text("token.thumbprint")
    (challenges / "link").symlink_to(directory / "first.key")
    with Synproxy(directory, CONFIG, loop=request.param) as running:
        yield running


def context(**options: ssl.TLSVersion) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    for name, value in options.items():
        setattr(made, name, value)
    return made


def connect(
    proxy: Synproxy,
    made: ssl.SSLContext | None = None,
    name: str | None = None,
    session: ssl.SSLSession | None = None,
) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
    return (made or context()).wrap_socket(plain, server_hostname=name, session=session)


def to_end(sock: socket.socket) -> bytes:
    data = b""
    while block := sock.recv(65536):
        data += block
    return data


def answer(proxy: Synproxy, request: bytes = GET) -> bytes:
    with connect(proxy) as sock:
        sock.sendall(request)
        return to_end(sock)


def over_unix(proxy: Synproxy, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(proxy.directory / "plain.sock"))
        sock.sendall(request)
        return to_end(sock)


def shown(proxy: Synproxy, name: str | None) -> bytes:
    with connect(proxy, name=name) as sock:
        return sock.getpeercert(binary_form=True) or b""


def on_disk(proxy: Synproxy, name: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert((proxy.directory / f"{name}.pem").read_text())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_todays_versions_are_spoken(proxy: Synproxy, version: ssl.TLSVersion) -> None:
    made = context(minimum_version=version, maximum_version=version)
    with connect(proxy, made) as sock:
        assert sock.version() == version.name.replace("_", ".")
        assert sock.compression() is None
        sock.sendall(GET)
        head = to_end(sock)
    assert head.startswith(b"HTTP/1.1 404 ")
    assert b"\r\nStrict-Transport-Security: max-age=15552000; includeSubDomains\r\n" in head


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(proxy: Synproxy, version: str) -> None:
    done = s_client(proxy, version, "-cipher", "ALL:@SECLEVEL=0")
    assert done.returncode != 0
    assert b"protocol version" in done.stderr


@pytest.mark.parametrize("cipher", ["AES128-SHA", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA"])
def test_ciphers_without_forward_secrecy_or_aead_are_refused(proxy: Synproxy, cipher: str) -> None:
    done = s_client(proxy, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
    assert done.returncode != 0
    assert b"handshake failure" in done.stderr


def test_renegotiation_is_refused(proxy: Synproxy) -> None:
    done = s_client(proxy, "-tls1_2", stdin=b"R\n")
    assert b"no renegotiation" in done.stderr


def s_client(
    proxy: Synproxy, *options: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.port}", *options]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=20)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed(proxy: Synproxy, version: ssl.TLSVersion) -> None:
    made = context(minimum_version=version, maximum_version=version)
    with connect(proxy, made, "a.example") as first:
        first.sendall(GET)
        to_end(first)
        session = first.session
    with connect(proxy, made, "a.example", session) as second:
        assert second.session_reused


@pytest.mark.parametrize(
    ("asked", "certificate"),
    [
        (None, "first"),
        ("a.example", "first"),
        ("b.example", "second"),
        ("B.Example", "second"),
        ("x.c.example", "second"),
        ("c.example", "first"),
        ("x.y.c.example", "first"),
        ("unknown.example", "first"),
    ],
)
def test_the_certificate_is_the_one_that_has_the_name(
    proxy: Synproxy, asked: str | None, certificate: str
) -> None:
    assert shown(proxy, asked) == on_disk(proxy, certificate)


def test_alpn_gives_http_1_1(proxy: Synproxy) -> None:
    made = context()
    made.set_alpn_protocols(["http/1.1"])
    with connect(proxy, made) as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"


def test_plain_http_gets_400_and_nginxs_words(proxy: Synproxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as sock:
        sock.sendall(GET)
        told = to_end(sock)
    assert told.startswith(b"HTTP/1.1 400 ")
    assert b"The plain HTTP request was sent to HTTPS port" in told
    assert b"Strict-Transport-Security" not in told


def test_requests_come_one_after_the_other_and_together(proxy: Synproxy) -> None:
    keep = GET.replace(b"Connection: close\r\n", b"")
    told = answer(proxy, keep * 20 + GET)
    assert told.count(b"HTTP/1.1 404 ") == 21


@pytest.mark.parametrize(("method", "status"), [(b"GET", b"301"), (b"POST", b"308")])
def test_plain_requests_are_sent_to_https(proxy: Synproxy, method: bytes, status: bytes) -> None:
    told = over_unix(
        proxy,
        b"%b /a/b?c=%%20 HTTP/1.1\r\nHost: A.example:80\r\nConnection: close\r\n\r\n" % method,
    )
    assert told.startswith(b"HTTP/1.1 %b " % status)
    assert b"\r\nLocation: https://a.example/a/b?c=%20\r\n" in told


@pytest.mark.parametrize(
    ("name", "status"),
    [
        (b"token", b"200"),
        (b"missing", b"404"),
        (b"link", b"404"),
        (b"../../first.key", b"301"),
        (b"%2e%2e%2f%2e%2e%2ffirst.key", b"301"),
    ],
)
def test_a_challenge_is_a_file_of_its_directory_and_nothing_else(
    proxy: Synproxy, name: bytes, status: bytes
) -> None:
    told = over_unix(
        proxy,
        b"GET /.well-known/acme-challenge/%b HTTP/1.1\r\nHost: a.example\r\n"
        b"Connection: close\r\n\r\n" % name,
    )
    assert told.startswith(b"HTTP/1.1 %b " % status)
    assert b"PRIVATE KEY" not in told
    if status == b"200":
        assert told.endswith(b"\r\n\r\ntoken.thumbprint")


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def in_log(proxy: Synproxy, text: str) -> None:
    eventually(lambda: text in proxy.log.read_text())


def children(proxy: Synproxy) -> list[int]:
    found: list[int] = asyncio.run(ask(proxy.directory / "control.sock", "status"))["children"]
    return found


def test_a_new_certificate_is_taken_on_reload_and_a_broken_one_is_not(proxy: Synproxy) -> None:
    old = on_disk(proxy, "first")
    made = context()
    with connect(proxy, made, "a.example") as first:
        first.sendall(GET)
        to_end(first)
        session = first.session
    make_certificate(proxy.directory, "first", "a.example")
    new = on_disk(proxy, "first")
    assert new != old
    os.kill(proxy.pid, signal.SIGHUP)
    in_log(proxy, "new certificates for")
    assert shown(proxy, "a.example") == new
    with connect(proxy, made, "a.example", session) as again:
        assert again.session_reused  # tickets outlive certificates
    key = (proxy.directory / "first.key").read_text()
    (proxy.directory / "first.key").write_text((proxy.directory / "second.key").read_text())
    os.kill(proxy.pid, signal.SIGHUP)
    in_log(proxy, "the key does not fit the certificate")
    assert shown(proxy, "a.example") == new
    (proxy.directory / "first.key").write_text(key)


def test_a_challenge_that_certbot_writes_is_served_at_once_and_gone_with_its_file(
    proxy: Synproxy,
) -> None:
    """As its webroot plugin does: a file made in a directory that is there, readable by all, and
    removed after the authority has asked."""
    token = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"
    written = proxy.directory / ".well-known" / "acme-challenge" / token
    request = (
        f"GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: a.example\r\n"
        "User-Agent: Mozilla/5.0 (compatible; Let's Encrypt validation server)\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    ).encode()
    assert over_unix(proxy, request).startswith(b"HTTP/1.1 404 ")
    written.write_text(f"{token}.thumbprint")
    head, _, body = over_unix(proxy, request).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == f"{token}.thumbprint".encode()
    written.unlink()
    assert over_unix(proxy, request).startswith(b"HTTP/1.1 404 ")


def test_a_ticket_is_good_in_the_child_that_gave_it_and_does_no_harm_in_another(
    tmp_path: Path,
) -> None:
    """Python's ssl cannot share the keys of tickets: docs/adr/0013."""
    make_certificate(tmp_path, "first", "a.example")
    make_certificate(tmp_path, "second", "b.example")
    made, resumed = context(), list[bool | None]()
    with Synproxy(tmp_path, CONFIG.replace("children: 1", "children: 2")) as proxy:
        with connect(proxy, made, "a.example") as first:
            first.sendall(GET)
            assert to_end(first).startswith(b"HTTP/1.1 404 ")
            session = first.session
        while not {True, False} <= set(resumed):
            assert len(resumed) < 200, resumed
            with connect(proxy, made, "a.example", session) as again:
                resumed.append(again.session_reused)
                again.sendall(GET)
                assert to_end(again).startswith(b"HTTP/1.1 404 ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_keys_that_only_root_can_read_are_enough(tmp_path: Path) -> None:
    make_certificate(tmp_path, "first", "a.example")
    make_certificate(tmp_path, "second", "b.example")
    config = f"{CONFIG}user: nobody\ncontrol_socket: @RUN@/control.sock\n"
    with Synproxy(tmp_path, config) as proxy:
        assert tmp_path.stat().st_mode & 0o077 == 0  # the children cannot even look there
        in_log(proxy, "ready: ")
        before = children(proxy)
        assert shown(proxy, "b.example") == on_disk(proxy, "second")
        old = on_disk(proxy, "first")
        make_certificate(tmp_path, "first", "a.example")
        (tmp_path / "first.key").chmod(0o600)
        in_log(proxy, "new certificates for")  # within 10 s, by itself
        new = on_disk(proxy, "first")
        eventually(lambda: shown(proxy, "a.example") == new)
        assert new != old
        # What is broken on disk keeps no child from being started again.
        (tmp_path / "first.key").unlink()
        os.kill(before[0], signal.SIGKILL)
        eventually(lambda: children(proxy) not in ([], before))
        assert shown(proxy, "a.example") == new
        assert "PRIVATE KEY" not in proxy.log.read_text()


def test_a_pair_that_does_not_fit_is_a_mistake_with_its_place(tmp_path: Path) -> None:
    make_certificate(tmp_path, "first", "a.example")
    make_certificate(tmp_path, "second", "b.example")
    (tmp_path / "second.key").write_text((tmp_path / "first.key").read_text())
    file = tmp_path / "synproxy.yaml"
    file.write_text(CONFIG.replace("@PORT@", "8443").replace("@RUN@", str(tmp_path)))
    done = subprocess.run(
        [sys.executable, "-m", "synproxy.cli.main", "check", "-c", str(file)],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 1
    assert f"{file}:6:" in done.stderr
    assert "key: the key does not fit the certificate" in done.stderr
