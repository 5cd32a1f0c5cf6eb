"""HTTP/2 of a running synproxy, as curl, h2load and a browser speak it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.certificates import make_certificate
from tests.support.echo import Echo, serving
from tests.support.process import free_port
from tests.support.synproxy import Synproxy

CONFIG = """\
listeners:
  - listen: "127.0.0.1:@PORT@"
    http2: on
  - listen: "127.0.0.1:@TLS@"
    http2: on
    tls:
      certificates: [{certificate: @RUN@/own.pem, key: @RUN@/own.key}]
      hsts: 180d
  - listen: "127.0.0.1:@OLD@"
    http2: off
http: {client_max_body_size: 20m, keepalive_requests: 100000}
access_log: off
pools:
  all: {servers: ["unix:@RUN@/server.sock"]}
routes:
  - {name: all, location: /, pool: all}
"""
LARGE = bytes(range(256)) * 16384
"""4 MiB."""

PAGE = b"""<!doctype html><title>page</title><link rel=icon href="data:,">
<pre id=seen>not yet</pre>
<script>
(async () => {
  const bodies = await Promise.all([...Array(30).keys()].map(
    async n => (await fetch("/number/" + n, {method: n % 2 ? "POST" : "GET",
                                             body: n % 2 ? "x".repeat(n * 1000) : null})).text()));
  const spoken = performance.getEntriesByType("resource").map(one => one.nextHopProtocol);
  spoken.push(performance.getEntriesByType("navigation")[0].nextHopProtocol);
  document.getElementById("seen").textContent = JSON.stringify({bodies, spoken});
})();
</script>
"""


class Answers(Echo):
    """A page, what it asks for, and something large."""

    def respond(self) -> None:
        path = urlsplit(self.path).path
        if path == "/":
            self.answer(PAGE, "text/html")
        elif path == "/large":
            self.answer(LARGE)
        elif path.startswith("/number/"):
            body = self.read_body()
            self.answer(b"%s:%d" % (path[8:].encode(), len(body)))
        elif path == "/digest":
            self.answer(hashlib.sha256(self.read_body()).hexdigest().encode())
        else:
            super().respond()

    do_GET = do_POST = respond  # noqa: N815


class Running(Synproxy):
    """synproxy with three listeners: plain, TLS, and one that speaks HTTP/1.1 only."""

    def __init__(self, directory: Path, loop: str) -> None:
        self.tls_port, self.old_port = free_port(), free_port()
        values = {"@TLS@": str(self.tls_port), "@OLD@": str(self.old_port)}
        super().__init__(directory, CONFIG, values, loop)

    def curl(self, port: int, path: str, *options: str) -> tuple[str, bytes]:
        """Version and status, and the body."""
        scheme = "https" if port == self.tls_port else "http"
        done = subprocess.run(
            [
                *("curl", "-sSk", "--max-time", "20", "-w", "\n%{http_version} %{http_code}"),
                *options,
                f"{scheme}://127.0.0.1:{port}{path}",
            ],
            check=True,
            capture_output=True,
        )
        body, _, told = done.stdout.rpartition(b"\n")
        return told.decode(), body


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def proxy(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("http2")
    make_certificate(directory, "own", "localhost")
    with (
        serving(directory / "server.sock", Answers),
        Running(directory, request.param) as running,
    ):
        yield running


def test_alpn_chooses_the_version(proxy: Running) -> None:
    for option, version in (("--http2", "2"), ("--http1.1", "1.1"), ("--no-alpn", "1.1")):
        assert proxy.curl(proxy.tls_port, "/number/1", option) == (f"{version} 200", b"1:0")


@pytest.mark.parametrize("option", ["--http2-prior-knowledge", "--http1.1"])
def test_without_tls_the_first_bytes_choose_it(proxy: Running, option: str) -> None:
    version = "2" if option == "--http2-prior-knowledge" else "1.1"
    assert proxy.curl(proxy.port, "/number/1", option) == (f"{version} 200", b"1:0")


def test_no_upgrade_to_h2c_passes_by_the_routes(proxy: Running) -> None:
    """``curl --http2`` asks for one on a plain connection (RFC 7540 section 3.2)."""
    told, body = proxy.curl(proxy.port, "/fields", "--http2")
    assert told == "1.1 200"
    names = {name.lower() for name, _ in json.loads(body)["fields"]}
    assert not names & {"upgrade", "http2-settings"}


def test_a_listener_without_it_speaks_http_1_only(proxy: Running) -> None:
    done = subprocess.run(
        [
            *("curl", "-sS", "--max-time", "20", "-i", "--http1.1", "-X", "PRI"),
            *("--request-target", "*", f"http://127.0.0.1:{proxy.old_port}/"),
        ],
        check=True,
        capture_output=True,
    )
    assert done.stdout.startswith(b"HTTP/1.1 400 ")
    with pytest.raises(subprocess.CalledProcessError):
        proxy.curl(proxy.old_port, "/number/1", "--http2-prior-knowledge")


def test_the_server_sees_what_it_sees_of_http_1(proxy: Running) -> None:
    asked = ("-H", "Cookie: a=b", "-H", "X-Forwarded-For: 6.6.6.6", "-A", "test")
    path = "/a%2Fb//c/../d?e=f%20g"
    seen = []
    for option in ("--http2", "--http1.1"):
        told, body = proxy.curl(proxy.tls_port, path, option, "--path-as-is", *asked)
        assert told.endswith(" 200")
        seen.append(json.loads(body))
    of_2, of_1 = seen
    assert of_2["line"] == of_1["line"] == f"GET {path} HTTP/1.1"
    assert _lower(of_2["fields"]) == _lower(of_1["fields"])


def _lower(fields: list[list[str]]) -> list[tuple[str, str]]:
    return sorted((name.lower(), value) for name, value in fields)


@pytest.mark.parametrize("length", ["announced", "not announced"])
def test_a_large_body_arrives_whole(proxy: Running, length: str, tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_bytes(LARGE)
    options = ["--http2", "--data-binary", f"@{file}", "-H", "Expect:"]
    if length == "not announced":
        options = ["--http2", "-X", "POST", "-T", "-", "-H", "Expect:"]
        done = subprocess.run(
            ["curl", "-sSk", *options, f"https://127.0.0.1:{proxy.tls_port}/digest"],
            input=LARGE,
            check=True,
            capture_output=True,
        )
        body = done.stdout
    else:
        _, body = proxy.curl(proxy.tls_port, "/digest", *options)
    assert body.decode() == hashlib.sha256(LARGE).hexdigest()


def test_a_large_answer_arrives_whole(proxy: Running) -> None:
    assert proxy.curl(proxy.tls_port, "/large", "--http2") == ("2 200", LARGE)


def test_an_answer_of_our_own_is_json_with_cors_and_hsts(proxy: Running) -> None:
    done = subprocess.run(
        ["curl", "-sSki", "--http2", "-X", "TRACE", f"https://127.0.0.1:{proxy.tls_port}/"],
        check=True,
        capture_output=True,
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/2 405 ")
    assert b"\r\naccess-control-allow-origin: *\r\n" in head
    assert json.loads(body)["errcode"] == "M_UNRECOGNIZED"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_h2load_gets_every_answer(proxy: Running, tls: bool) -> None:
    url = f"https://127.0.0.1:{proxy.tls_port}" if tls else f"http://127.0.0.1:{proxy.port}"
    done = subprocess.run(
        ["h2load", "-n", "1000", "-c", "4", "-m", "20", f"{url}/number/12345"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "1000 succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout
    assert "status codes: 1000 2xx" in done.stdout
    assert f"Application protocol: {'h2' if tls else 'h2c'}" in done.stdout


def test_a_reload_fails_no_request(proxy: Running) -> None:
    command = ["h2load", "-n", "2000", "-c", "4", "-m", "5"]
    command += [f"http://127.0.0.1:{proxy.port}/number/12345"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        while load.poll() is None:
            subprocess.run(["kill", "-HUP", str(proxy.pid)], check=True)
            try:
                load.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
        assert load.stdout is not None
        assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in load.stdout.read()


@pytest.mark.parametrize("proxy", ["uvloop"], indirect=True)
def test_a_browser_loads_a_page_over_it(proxy: Running, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    assert chromium is not None, "install Debian's chromium"
    done = subprocess.run(
        [
            chromium,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--ignore-certificate-errors", f"--user-data-dir={tmp_path}"),
            *("--virtual-time-budget=20000", "--dump-dom"),
            f"https://127.0.0.1:{proxy.tls_port}/",
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    found = re.search(r"<pre id=\"seen\">(.*?)</pre>", done.stdout)
    assert found is not None, done.stdout
    seen = json.loads(found[1])
    assert seen["bodies"] == [f"{n}:{n * 1000 * (n % 2)}" for n in range(30)]
    assert seen["spoken"] == ["h2"] * 31
