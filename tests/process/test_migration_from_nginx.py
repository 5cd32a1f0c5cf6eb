"""docs/migrating.md, step by step, under load: from a running nginx to synproxy and back again.

nginx has the seed's configuration, the servers are stand-ins. No request may fail.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.differential.deployment import SEED, stand_ins
from tests.support.nginx import Nginx, find_nginx, read_tree
from tests.support.paths import ROOT
from tests.support.process import free_port
from tests.support.script import WAIT, Answer

pytestmark = pytest.mark.timeout(120)

SYNPROXY = (sys.executable, "-m", "synproxy.cli.main")
DEADLINE = 20.0
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
FORMAT = '$remote_addr [$time_local] "$request" $status $upstream_addr "$http_host"'
TARGETS = (
    "/_matrix/client/v3/sync?since=s1",
    "/_matrix/client/v3/sync",
    "/_matrix/client/v3/login",
    "/_matrix/federation/v1/event/x",
    "/_matrix/client/versions",
)


def synproxy(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SYNPROXY, *map(str, arguments)], capture_output=True, text=True)


class Load:
    """Clients that open a connection for each request and tell who answered it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(3)]
        self.served: Counter[str] = Counter()
        self.failures: list[str] = []

    def _run(self, number: int) -> None:
        while not self._stop.wait(0.003):
            target = TARGETS[number % len(TARGETS)]
            number += 1
            try:
                connection = HTTPConnection("127.0.0.1", self._port, timeout=10)
                connection.request("GET", target)
                answer = connection.getresponse()
                answer.read()
                connection.close()
            except OSError as error:
                self.failures.append(f"{target}: {error!r}")
                continue
            self.served[(answer.getheader("Server") or "").partition("/")[0]] += 1
            if answer.status != 200:
                self.failures.append(f"{target}: {answer.status}")

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(DEADLINE)

    def until(self, server: str, more: int = 30) -> None:
        """Until this one has served some more."""
        wanted = self.served[server] + more
        becomes(lambda: self.served[server] >= wanted or bool(self.failures))

    def until_only(self, server: str, more: int = 60) -> None:
        """Until this one has served many in a row, and no other one any."""

        def alone() -> bool:
            before = Counter(self.served)
            becomes(lambda: self.served[server] >= before[server] + more or bool(self.failures))
            others = self.served.keys() - {server}
            return all(self.served[other] == before[other] for other in others)

        becomes(lambda: alone() or bool(self.failures))


def becomes(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not met():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


@contextmanager
def started(*command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, cwd=ROOT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(DEADLINE)


def seed_files() -> dict[str, str]:
    """The seed with a log that also says where each request went."""
    files = read_tree(SEED)
    shadow = f"log_format shadow '{FORMAT}'; access_log @RUN@/shadow.log shadow; gzip on;"
    text = files["nginx.conf"].replace("gzip on;", shadow)
    # nginx as it runs at an admin's: only a master lets its workers end gracefully. They may use
    # the sockets of the test, which are its user's.
    user = pwd.getpwuid(os.getuid()).pw_name
    files["nginx.conf"] = text.replace("master_process off;", f"user {user} {group()};")
    return files


def group() -> str:
    return grp.getgrgid(os.getgid()).gr_name


def test_no_request_fails_on_the_way_to_synproxy_and_back() -> None:
    with TemporaryDirectory(prefix="sp") as name:
        directory = Path(name)
        sockets, home = directory / "s", directory / "nginx"
        sockets.mkdir()
        home.mkdir()
        values = {"SOCKETS": str(sockets), "LISTEN": "listen 127.0.0.1:@PORT@;"}
        with stand_ins(sockets) as recorder, Nginx(home, seed_files(), values) as nginx:
            load = Load(nginx.port)
            with load.running():
                load.until("nginx")
                config = directory / "synproxy.yaml"
                prepare(home, config)
                beside(config, directory, nginx.port)
                recorder.script(b"held", [Answer((ANSWER, WAIT, b"done"))])
                held = HTTPConnection("127.0.0.1", nginx.port, timeout=DEADLINE)
                held.request("GET", TARGETS[0], headers={"X-Case": "held"})
                recorder.wait_for_head(b"held")
                command = (*SYNPROXY, "run", "-c", str(config))
                over = (*SYNPROXY, "take-over", "--from", str(home / "nginx.pid"), "--")
                with started(*over, *command) as proxy:
                    load.until("synproxy")
                    nginx_quits(home)
                    load.until_only("synproxy")
                    recorder.release(b"held")
                    assert held.getresponse().read() == b"done"
                    held.close()
                    assert nginx.wait() == 0
                    pid = directory / "synproxy.pid"
                    pid.write_text(str(proxy.pid))
                    back = (*SYNPROXY, "take-over", "--from", str(pid), "--as", "nginx", "--")
                    with started(*back, *nginx.command()):
                        load.until("nginx")
                        proxy.terminate()
                        load.until_only("nginx")
                        assert proxy.wait(DEADLINE) == 0
                        load.stop()
        assert not load.failures, load.failures[:10]
        assert load.served["nginx"] > 100
        assert load.served["synproxy"] > 80


def prepare(home: Path, config: Path) -> None:
    """Import, check, replay, and compare with where nginx sent the requests."""
    imported = synproxy("import-nginx", home / "nginx.conf", "-o", config)
    assert imported.returncode == 3, imported.stderr
    assert re.findall(r": (differs|not carried over): (\S+)", imported.stderr) == [
        ("not carried over", "access_log"),  # one log is written
        ("differs", "log_format"),  # the tests' own, of variables that are not logged here
    ]
    text = config.read_text()
    config.write_text(text.replace(f"path: {home}/access.log", f"path: {config.parent}/own.log"))
    assert synproxy("check", "-c", config).returncode == 0
    log = home / "shadow.log"
    replayed = synproxy("replay", log, "-c", config, "--log-format", FORMAT)
    assert replayed.returncode == 0, replayed.stdout
    assert "0 to another server of the pool, 0 to another pool or answer" in replayed.stdout


def beside(config: Path, directory: Path, port: int) -> None:
    """synproxy on another port, next to nginx: the same answers."""
    other = free_port()
    trial = directory / "trial.yaml"
    trial.write_text(config.read_text().replace(f":{port}", f":{other}"))
    with started(*SYNPROXY, "run", "-c", trial):
        becomes(lambda: answers(other))
        for target in TARGETS:
            connection = HTTPConnection("127.0.0.1", other, timeout=DEADLINE)
            connection.request("GET", target)
            answer = connection.getresponse()
            assert (answer.status, answer.getheader("Server")) == (200, "synproxy")
            answer.read()
            connection.close()


def answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request("GET", TARGETS[0])
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def nginx_quits(home: Path) -> None:
    """As ``nginx -s quit``: it stops accepting, and ends with its last request."""
    command = [find_nginx(), "-p", home, "-c", home / "nginx.conf", "-e", home / "error.log"]
    subprocess.run([*map(str, command), "-s", "quit"], check=True, capture_output=True)
