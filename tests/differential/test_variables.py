"""Variables and maps are worth what the real nginx gives them."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator, Sequence

import pytest

from synproxy.config.model import Map
from synproxy.core.variables import Variables
from tests.support.nginx import Nginx
from tests.unit.config.test_pcre import CASES as REGEX_CASES
from tests.unit.core.test_maps import SEED
from tests.unit.core.test_variables import Request

MAIN = """
daemon off;
worker_processes 1;
pid @RUN@/nginx.pid;
error_log @RUN@/error.log;
events { worker_connections 64; }
http {
    access_log off;
    keepalive_requests 100000;
    variables_hash_max_size 4096;
    map_hash_bucket_size 256;
    client_body_temp_path @RUN@/body; proxy_temp_path @RUN@/proxy; fastcgi_temp_path @RUN@/f;
    uwsgi_temp_path @RUN@/u; scgi_temp_path @RUN@/s;
    @MAPS@
    server {
        listen 127.0.0.1:@PORT@;
        location / { return 200 "@TEXT@"; }
    }
}
"""

OTHERS = {
    "folded": Map(source="$http_x", values={"aB": "1", r"\~b": "2", "É": "3"}, default="$http_x"),
    "ordered": Map(
        source="$http_x",
        values={"~b(?<tail1>.*)": "b:$tail1", "~*^A(x)?(.*)": "[$1][$2]", "": "no", "ab": "!"},
        default="d",
    ),
}
TEXT = "|".join(
    f"${name}"
    for name in (
        *("arg_k", "arg_since", "cookie_sid", "http_x", "http_x_y", "is_args", "args", "host"),
        *("connection_upgrade", "sync", "mxid_localpart", "folded", "ordered"),
    )
)


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def directive(name: str, declared: Map) -> str:
    lines = [f"{quoted(key)} {quoted(value)};" for key, value in declared.values.items()]
    lines.append(f"default {quoted(declared.default)};")
    return f"map {quoted(declared.source)} ${name} {{ {' '.join(lines)} }}"


def values_of_nginx(
    run: pytest.TempPathFactory, maps: dict[str, Map], text: str, requests: Sequence[Request]
) -> Iterator[bytes]:
    values = {"MAPS": "\n".join(directive(*item) for item in maps.items()), "TEXT": text}
    with (
        Nginx(run.mktemp("v"), {"nginx.conf": MAIN}, values) as nginx,
        socket.create_connection(("127.0.0.1", nginx.port), timeout=10) as connection,
        connection.makefile("rb") as answers,
    ):
        for request in requests:
            fields = b"".join(b"%b: %b\r\n" % item for item in request.headers.items())
            line = b"GET /" + (b"?" + request.query if request.query else b"")
            connection.sendall(b"%b HTTP/1.1\r\nHost: Example.ORG:80\r\n%b\r\n" % (line, fields))
            head: list[bytes] = []
            while not head or head[-1] != b"\r\n":
                head.append(answers.readline())
            assert head[0] == b"HTTP/1.1 200 OK\r\n"
            length = next(line for line in head if line.startswith(b"Content-Length:"))
            yield answers.read(int(length.partition(b":")[2]))


def drawn(rng: random.Random, pieces: Sequence[bytes], most: int) -> bytes:
    return b"".join(rng.choices(pieces, k=rng.randint(0, most)))


def random_requests(count: int) -> Iterator[Request]:
    rng = random.Random(311)
    query = [b"k", b"K", b"=", b"&", b"k=", b"&k=", b"&since=", b"1", b"%6b", b"?", b";", b"\xff"]
    tokens = [b"&access_token=syt_YWxp_x_y", b"access_token=mct_x", b"access_token=syt_a%5Fb"]
    cookie = [b"sid", b"SID", b"=", b";", b"; ", b",", b" ", b"sid=", b"x", b"1", b"sid=2;"]
    looked_up = [b"a", b"A", b"b", b"B", b"x", b"~", "É".encode(), "é".encode(), b"ab"]
    credentials = [b"Bearer syt_", b"bearer syt_", b"Bearer ", b"Ym9i", b"_", b"x"]
    for _ in range(count):
        headers = {
            b"cookie": drawn(rng, cookie, 7).strip(),
            b"x": drawn(rng, looked_up, 3),
            b"x-y": b"dash",
            b"authorization": drawn(rng, credentials, 4).strip(),
            b"upgrade": rng.choice([b"", b"websocket"]),
        }
        yield Request(
            query=drawn(rng, query, 8) + rng.choice([b"", *tokens]),
            headers={name: value for name, value in headers.items() if rng.random() < 0.7},
            host=b"example.org",
        )


def test_random_requests_give_nginx_s_values(tmp_path_factory: pytest.TempPathFactory) -> None:
    requests = list(random_requests(1500))
    maps = {**SEED, **OTHERS}
    expected = list(values_of_nginx(tmp_path_factory, maps, TEXT, requests))
    template = Variables(maps).template(TEXT)
    ours = [template.render(request) for request in requests]
    assert ours == expected
    assert len({value.split(b"|")[0] for value in ours}) > 20


def test_regexes_match_what_pcre_matches(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every translated regex on every subject that a header can carry."""
    maps = {}
    for number, (pattern, _, _) in enumerate(REGEX_CASES):
        maps[f"m{number}"] = Map(source="$http_x", values={f"~{pattern}": "1"}, default="0")
        maps[f"n{number}"] = Map(source="$http_x", values={f"~*{pattern}": "1"}, default="0")
    subjects = sorted({subject for _, subject, _ in REGEX_CASES if not set(subject) & set(b"\n\r")})
    requests = [Request(headers={b"x": subject}, query=b"") for subject in subjects]
    text = "".join(f"${name}" for name in maps)
    expected = list(values_of_nginx(tmp_path_factory, maps, text, requests))
    template = Variables(maps).template(text)
    assert [template.render(request) for request in requests] == expected
    assert all(b"1" in value and b"0" in value for value in expected)
