"""TLS beside nginx's: what a client can tell of a handshake, and what is said before one.

nginx has two server blocks with TLS and one that redirects; synproxy has what `import-nginx` makes
of the first, with the second's certificate added.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml

from synproxy.config.certificates import openssl_reason
from synproxy.nginx.importer import import_nginx
from synproxy.nginx.tree import read
from tests.support.certificates import make_certificate
from tests.support.nginx import Nginx
from tests.support.process import free_port
from tests.support.synproxy import Synproxy

NGINX = """\
daemon off; master_process off; pid @RUN@/nginx.pid; events { }
http {
    access_log off;
    client_body_temp_path @RUN@/a; proxy_temp_path @RUN@/b; fastcgi_temp_path @RUN@/c;
    uwsgi_temp_path @RUN@/d; scgi_temp_path @RUN@/e;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM;
    server {
        listen 127.0.0.1:@PORT@ ssl;
        server_name a.example;
        ssl_certificate @RUN@/ecdsa.pem; ssl_certificate_key @RUN@/ecdsa.key;
        ssl_certificate @RUN@/rsa.pem; ssl_certificate_key @RUN@/rsa.key;
        ssl_stapling on; ssl_stapling_file @RUN@/ocsp.der;
        add_header Strict-Transport-Security "max-age=600; includeSubDomains" always;
        location / { return 404; }
    }
    server {
        listen 127.0.0.1:@PORT@ ssl;
        server_name b.example *.c.example;
        ssl_certificate @RUN@/second.pem; ssl_certificate_key @RUN@/second.key;
        location / { return 404; }
    }
    server {
        listen 127.0.0.1:@PLAIN@;
        return 301 https://$host$request_uri;
    }
}
"""
GET = b"GET /version HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Side:
    """One of the two: its ports."""

    port: int
    plain: int


@pytest.fixture(scope="module")
def nginx() -> Iterator[tuple[Side, Path]]:
    with TemporaryDirectory(prefix="sp") as name:
        directory = Path(name)
        make_certificate(directory, "ecdsa", "a.example")
        make_certificate(directory, "rsa", "a.example", kind="rsa")
        make_certificate(directory, "second", "b.example", "*.c.example")
        make_ocsp_response(directory, "ecdsa")
        plain = free_port()
        with Nginx(directory, {"nginx.conf": NGINX}, {"PLAIN": str(plain)}) as running:
            yield Side(running.port, plain), directory


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def pair(
    nginx: tuple[Side, Path],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[tuple[Side, Side]]:
    theirs, directory = nginx
    imported = import_nginx(read(directory / "nginx.conf"), "a.example")
    tree = yaml.safe_load(imported.text)
    secure, redirecting = tree["listeners"]
    assert len(secure["tls"]["certificates"]) == 2
    secure["tls"]["certificates"].append(
        {"certificate": f"{directory}/second.pem", "key": f"{directory}/second.key"}
    )
    plain = free_port()
    secure["listen"], redirecting["listen"] = "127.0.0.1:@PORT@", f"127.0.0.1:{plain}"
    run = tmp_path_factory.mktemp("synproxy")
    with Synproxy(run, yaml.safe_dump(tree, sort_keys=False), loop=request.param) as running:
        yield theirs, Side(running.port, plain)


def make_ocsp_response(directory: Path, name: str) -> None:
    """What an authority says of a certificate that is its own authority: it is good."""
    files = [str(directory / f"{name}.pem"), str(directory / f"{name}.key")]
    serial = subprocess.run(
        ["openssl", "x509", "-noout", "-serial", "-in", files[0]],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    (directory / "index").write_text(
        f"V\t491231235959Z\t\t{serial.strip().removeprefix('serial=')}\tunknown\t/CN={name}\n"
    )
    command = ["openssl", "ocsp", "-index", str(directory / "index"), "-CA", files[0]]
    command += ["-rsigner", files[0], "-rkey", files[1], "-issuer", files[0], "-cert", files[0]]
    command += ["-ndays", "7", "-respout", str(directory / "ocsp.der")]
    subprocess.run(command, capture_output=True, check=True)


def s_client(side: Side, *options: str) -> subprocess.CompletedProcess[bytes]:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{side.port}", *options]
    return subprocess.run(command, input=b"", capture_output=True, timeout=20, check=False)


def client(ciphers: str | None = None) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if ciphers is not None:
        made.maximum_version = ssl.TLSVersion.TLSv1_2
        made.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    return made


def to_end(sock: socket.socket) -> bytes:
    data = b""
    while block := sock.recv(65536):
        data += block
    return data


def seen(side: Side, context: ssl.SSLContext, name: str | None = "a.example") -> object:
    """What a client learns from a handshake, or why there was none."""
    with socket.create_connection(("127.0.0.1", side.port), timeout=10) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=name) as sock:
                return (
                    sock.version(),
                    sock.cipher(),
                    sock.compression(),
                    sock.selected_alpn_protocol(),
                    sock.getpeercert(binary_form=True),
                )
        except ssl.SSLError as error:
            return error.reason or openssl_reason(error)


def exchange(side: Side, request: bytes = GET, *, tls: bool = True) -> tuple[bytes, list[bytes]]:
    """Status line and the fields that matter here."""
    port = side.port if tls else side.plain
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        sock = client().wrap_socket(plain, server_hostname="a.example") if tls else plain
        sock.sendall(request)
        head = to_end(sock).partition(b"\r\n\r\n")[0].split(b"\r\n")
        sock.close()
    wanted = (b"location", b"strict-transport-security")
    return head[0][:12], [one for one in head if one.lower().startswith(wanted)]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_version_of_today_is_spoken_as_by_nginx(
    pair: tuple[Side, Side], version: ssl.TLSVersion
) -> None:
    context = client()
    context.minimum_version = context.maximum_version = version
    theirs, ours = (seen(side, context) for side in pair)
    assert isinstance(theirs, tuple)
    assert ours == theirs


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_an_old_version_is_refused_with_nginx_s_alert(
    pair: tuple[Side, Side], version: ssl.TLSVersion
) -> None:
    context = client("ALL")
    context.minimum_version = context.maximum_version = version
    theirs, ours = (seen(side, context) for side in pair)
    assert theirs == "TLSV1_ALERT_PROTOCOL_VERSION"
    assert ours == theirs


def test_of_all_ciphers_those_of_nginx_are_taken(pair: tuple[Side, Side]) -> None:
    context = client("ALL:COMPLEMENTOFALL")
    names = [one["name"] for one in context.get_ciphers() if one["protocol"] != "TLSv1.3"]
    taken = 0
    for name in names:
        theirs, ours = (seen(side, client(name)) for side in pair)
        assert ours == theirs, name
        taken += isinstance(theirs, tuple)
    assert len(names) > 60
    assert taken == 6  # three of each kind of certificate; finite-field DHE needs ssl_dhparam


@pytest.mark.parametrize(
    "group", ["X25519", "X448", "P-256", "P-384", "P-521", "ffdhe2048", "secp256k1"]
)
def test_a_group_is_taken_as_by_nginx(pair: tuple[Side, Side], group: str) -> None:
    told = []
    for side in pair:
        done = s_client(side, "-groups", group)
        keys = [one for one in done.stdout.splitlines() if one.startswith(b"Server Temp Key")]
        told.append((done.returncode, keys))
    assert told[1] == told[0]


@pytest.mark.parametrize(
    "name",
    [
        *(None, "a.example", "A.EXAMPLE", "b.example", "x.c.example", "c.example"),
        *("unknown.example", "127.0.0.1", "a.example.example"),
    ],
)
@pytest.mark.parametrize("ciphers", [None, "ECDHE+aRSA", "ECDHE+aECDSA"])
def test_a_name_chooses_the_certificate_as_in_nginx(
    pair: tuple[Side, Side], name: str | None, ciphers: str | None
) -> None:
    theirs, ours = (seen(side, client(ciphers), name) for side in pair)
    assert ours == theirs


@pytest.mark.parametrize("protocols", [[], ["http/1.1"], ["spam", "http/1.1"]])
def test_alpn_is_answered_as_by_nginx(pair: tuple[Side, Side], protocols: list[str]) -> None:
    context = client()
    if protocols:
        context.set_alpn_protocols(protocols)
    theirs, ours = (seen(side, context) for side in pair)
    assert isinstance(theirs, tuple)
    assert ours == theirs


def test_of_protocols_that_nobody_speaks_nginx_makes_an_error_and_synproxy_http_1_1(
    pair: tuple[Side, Side],
) -> None:
    context = client()
    context.set_alpn_protocols(["spam"])
    theirs, ours = (seen(side, context) for side in pair)
    assert theirs == "tlsv1 alert no application protocol"
    assert isinstance(ours, tuple)
    assert ours[3] is None


def test_a_wildcard_is_for_one_label_and_in_nginx_for_any_number(pair: tuple[Side, Side]) -> None:
    theirs, ours = (seen(side, client(), "x.y.c.example") for side in pair)
    assert theirs == seen(pair[0], client(), "b.example")
    assert ours == seen(pair[1], client(), "a.example")


def test_nginx_staples_what_the_authority_says_and_synproxy_nothing(
    pair: tuple[Side, Side],
) -> None:
    told = [s_client(side, "-status", "-servername", "a.example").stdout for side in pair]
    assert b"Cert Status: good" in told[0]
    assert b"OCSP response: no response sent" in told[1]


def test_plain_http_gets_nginx_s_answer(pair: tuple[Side, Side]) -> None:
    for side in pair:
        with socket.create_connection(("127.0.0.1", side.port), timeout=10) as sock:
            sock.sendall(GET)
            told = to_end(sock)
        assert told.startswith(b"HTTP/1.1 400 ")
        assert b"The plain HTTP request was sent to HTTPS port" in told


def test_a_ticket_is_taken_again_as_by_nginx(pair: tuple[Side, Side]) -> None:
    for side in pair:
        context, session = client(), None
        for expected in (False, True):
            plain = socket.create_connection(("127.0.0.1", side.port), timeout=10)
            with context.wrap_socket(plain, server_hostname="a.example", session=session) as sock:
                assert sock.session_reused is expected
                sock.sendall(GET)
                to_end(sock)
                session = sock.session


def test_strict_transport_security_is_that_of_nginx(pair: tuple[Side, Side]) -> None:
    theirs, ours = (exchange(side) for side in pair)
    assert theirs[1]
    assert ours == theirs


@pytest.mark.parametrize("target", [b"/", b"/a%2Fb?c=d%20e"])
def test_a_redirect_is_that_of_nginx(pair: tuple[Side, Side], target: bytes) -> None:
    request = GET.replace(b"/version", target)
    theirs, ours = (exchange(side, request, tls=False) for side in pair)
    assert theirs == (b"HTTP/1.1 301", [b"Location: https://a.example" + target])
    assert ours == theirs


def test_a_redirect_keeps_the_method_where_nginx_loses_it(pair: tuple[Side, Side]) -> None:
    request = GET.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n")
    theirs, ours = (exchange(side, request, tls=False) for side in pair)
    assert (theirs[0], ours[0]) == (b"HTTP/1.1 301", b"HTTP/1.1 308")
    assert ours[1] == theirs[1]
