"""Whose request it is, is what nginx's realip module and its PROXY protocol say."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pytest

from synproxy.config.model import TrustedProxies
from synproxy.core.client_address import ClientAddresses
from synproxy.core.head import HeaderBlock
from synproxy.wire.proxy_protocol import Endpoints, ProxyProtocolError, header_v2, read_header
from tests.support.nginx import Nginx
from tests.support.process import free_port
from tests.unit.wire.test_proxy_protocol import FOUR_BLOCK, tlv, v2

TRUSTED = ("10.0.0.0/8", "192.168.1.0/24", "2001:db8:aaaa::/48", "127.0.0.1")
KINDS = {
    "deep": ("X-Forwarded-For", True),
    "flat": ("X-Forwarded-For", False),
    "real": ("X-Real-IP", True),
}
TEXT = "$remote_addr $remote_port $realip_remote_addr [$proxy_protocol_addr]$proxy_protocol_port"
SERVER = """
    server {
        listen 127.0.0.1:@PORT@; listen 127.0.0.1:@PROXIED@ proxy_protocol; server_name %(name)s;
        %(trusted)s real_ip_header %(header)s; real_ip_recursive %(recursive)s;
        location / { return 200 "%(text)s"; }
    }
"""
MAIN = """
daemon off; worker_processes 1; pid @RUN@/nginx.pid; error_log @RUN@/error.log;
events { worker_connections 64; }
http {
    access_log off; keepalive_requests 100000;
    client_body_temp_path @RUN@/body; proxy_temp_path @RUN@/proxy; fastcgi_temp_path @RUN@/f;
    uwsgi_temp_path @RUN@/u; scgi_temp_path @RUN@/s;
    @SERVERS@
}
"""


def server(name: str, header: str, recursive: bool) -> str:
    trusted = " ".join(f"set_real_ip_from {network};" for network in TRUSTED)
    values = {"name": name, "header": header, "recursive": "on" if recursive else "off"}
    return SERVER % {**values, "trusted": trusted, "text": TEXT}


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    kinds = {**KINDS, "balancer": ("proxy_protocol", False)}
    blocks = "".join(server(name, *kind) for name, kind in kinds.items())
    values = {"SERVERS": blocks.replace("@PROXIED@", str(free_port()))}
    with Nginx(tmp_path_factory.mktemp("a"), {"nginx.conf": MAIN}, values) as running:
        running.proxied_port = int(  # type: ignore[attr-defined]
            values["SERVERS"].partition(" proxy_protocol")[0].rpartition(":")[2]
        )
        yield running


def answers(port: int, name: str, heads: Sequence[bytes], first: bytes = b"") -> Iterator[str]:
    """What nginx says to requests with these fields, over one connection, until it closes."""
    with (
        suppress(ConnectionError),
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
        connection.makefile("rb") as reader,
    ):
        connection.sendall(first)
        for fields in heads:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (name.encode(), fields))
            length = -1
            while (line := reader.readline()) != b"\r\n":
                if not line:
                    return
                if line.startswith(b"Content-Length:"):
                    length = int(line.partition(b":")[2])
            yield reader.read(length).decode()


ENTRIES = (
    *("10.0.0.1", "10.255.0.1", "192.168.1.9", "192.168.2.9", "203.0.113.7", "2001:db8:aaaa::1"),
    *("2001:db8:bbbb::1", "[2001:db8:bbbb::2]:80", "[2001:db8:aaaa::3]:443", "198.51.100.1:8080"),
    *("::ffff:10.0.0.5", "::ffff:203.0.113.9", "2001:DB8:BBBB:0:0:0:0:7", "10.0.0.6:99"),
    *("unknown", "_hidden", "10.0.0", "10.0.0.256", "999.1.1.1", "10.0.0.1:0", "10.0.0.1:70000"),
    *("unix:", "localhost", "[::1", "1:2:3", "127.0.0.1", "fe80::1%eth0", "10.0.0.1:"),
)


def lists(count: int) -> Iterator[list[str]]:
    rng = random.Random(39)
    for _ in range(count):
        lines = rng.choices((1, 2, 3), (8, 2, 1))[0]
        yield [
            rng.choice((", ", ",", " ")).join(rng.choices(ENTRIES, k=rng.randint(1, 6)))
            for _ in range(lines)
        ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_of_addresses_is_walked_as_by_nginx(nginx: Nginx, kind: str) -> None:
    header, recursive = KINDS[kind]
    drawn = [one for one in lists(1500) if header == "X-Forwarded-For" or len(one) == 1]
    settings = {"networks": TRUSTED, "header": header, "recursive": recursive}
    addresses = ClientAddresses(TrustedProxies.model_validate(settings))
    fields = [[(header.encode(), line.encode()) for line in one] for one in drawn]
    heads = [b"".join(b"%b: %b\r\n" % pair for pair in pairs) for pairs in fields]
    seen = set()
    for one, pairs, said in zip(drawn, fields, answers(nginx.port, kind, heads), strict=True):
        address, port, peer, *_ = said.split(" ")
        ours = addresses.origin(b"127.0.0.1", b"peer", HeaderBlock(pairs, 100))
        seen.add(address)
        assert (ours.address.decode(), peer) == (address, "127.0.0.1"), one
        if ours.port != b"peer":
            assert ours.port.decode() == port, one
    assert len(seen) > 10


HEADERS = (
    b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\r\n",
    b"PROXY TCP6 2001:db8:bbbb::1 2001:db8::2 40000 443\r\n",
    b"PROXY UNKNOWN\r\n",
    header_v2(Endpoints("203.0.113.7", 40000, "192.0.2.1", 443)),
    header_v2(Endpoints("2001:db8:bbbb::1", 40000, "2001:db8::2", 443)),
    v2(b"", command=0x20),
    v2(FOUR_BLOCK + tlv(2, b"example.org")),
    v2(FOUR_BLOCK + tlv(4, bytes(60))),
    v2(b"", family=0x00),
    # refused by both
    b"",
    b"PROXY TCP4 203.0.113.7\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 70000 443\r\n",
    v2(FOUR_BLOCK, command=0x11),
    v2(FOUR_BLOCK[:5]),
)


@pytest.mark.parametrize("header", HEADERS)
def test_a_proxy_protocol_header_says_what_it_says_to_nginx(nginx: Nginx, header: bytes) -> None:
    port: int = nginx.proxied_port  # type: ignore[attr-defined]
    said = list(answers(port, "balancer", [b""], header))
    try:
        ours = read_header(header + b"GET / HTTP/1.1\r\n")
    except ProxyProtocolError:
        assert said == []
        return
    assert ours is not None
    (text,) = said
    ends = ours.endpoints
    if ends is None:
        assert text.split(" ")[0] == "127.0.0.1"
        assert text.endswith(("[]", "[]0"))
    else:
        assert text == f"{ends.host} {ends.port} 127.0.0.1 [{ends.host}]{ends.port}"


@pytest.mark.parametrize(
    ("header", "nginx_takes_it", "we_take_it"),
    [
        (b"PROXY TCP4 bad 192.0.2.1 40000 443\r\n", True, False),
        (b"PROXY TCP6 192.0.2.1 192.0.2.2 40000 443\r\n", True, False),
        (b"PROXY ANYTHING\r\n", False, False),
        (v2(FOUR_BLOCK + tlv(3, bytes(4))), True, False),  # a wrong checksum
        (v2(FOUR_BLOCK + b"\x04\0\xff"), True, False),  # a TLV that is cut off
        (v2(FOUR_BLOCK, command=0x22), True, False),
        (v2(FOUR_BLOCK + tlv(4, bytes(3000))), False, True),
    ],
)
def test_headers_that_are_taken_by_one_only(
    nginx: Nginx, header: bytes, nginx_takes_it: bool, we_take_it: bool
) -> None:
    port: int = nginx.proxied_port  # type: ignore[attr-defined]
    assert bool(list(answers(port, "balancer", [b""], header))) == nginx_takes_it
    try:
        taken = read_header(header) is not None
    except ProxyProtocolError:
        taken = False
    assert taken == we_take_it
