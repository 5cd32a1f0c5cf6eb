"""The proxies under test: how each is configured, started, awaited and stopped.

All get the same routes, pools and forwarded headers (bench/configs), one worker process or
thread, and one core. What is measured is none of this module's business.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.lib import matrix, procs

BENCH = Path(__file__).resolve().parent.parent
SERVERS = (
    "login1",
    "initial_sync1",
    "initial_sync2",
    "normal_sync1",
    "normal_sync2",
    "normal_sync3",
    "media1",
    "control",
)
_PYTHON = sys.executable
SYNPROXY_PYTHON = os.environ.get("SYNPROXY_PYTHON", _PYTHON)
"""The interpreter that runs synproxy; another one of the same version may be built better."""
_SYNPROXY = "import sys; from synproxy.cli.main import main; sys.exit(main())"


@dataclass(frozen=True, slots=True)
class Proxy:
    """One row of a comparison."""

    name: str
    about: str
    command: Callable[[Path, int], list[str]]  # (directory, port)
    template: str = ""  # a file in bench/configs, written to the directory
    package: str = ""  # the Debian package that holds the program
    version: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    logged: Mapping[str, str] = field(default_factory=dict)  # instead of ``values`` with a log
    environment: Mapping[str, str] = field(default_factory=dict)
    forwards_headers: bool = True


_TUNED = {"KEEPALIVE": "256", "KEEPALIVE_REQUESTS": "1000000000"}
_NGINX = {"CONNECTION": '""', "GZIP": "off", "BUFFERING": "off", "ACCESS_LOG": "off"}
_NGINX_LOG = {"ACCESS_LOG": "@DIR@/access.log combined"}
_SEED = {"KEEPALIVE": "10", "KEEPALIVE_REQUESTS": "100"}


def _nginx(directory: Path, port: int) -> list[str]:
    return ["nginx", "-e", f"{directory}/nginx-error.log", "-c", f"{directory}/nginx.conf"]


def _synproxy(directory: Path, port: int) -> list[str]:
    return [SYNPROXY_PYTHON, "-c", _SYNPROXY, "run", "--config", f"{directory}/synproxy.yaml"]


ALL = {
    proxy.name: proxy
    for proxy in (
        Proxy(
            "nginx",
            'the seed\'s routes and settings, `Connection ""` so that keep-alive works, gzip off',
            _nginx,
            template="nginx.conf",
            package="nginx",
            version=("nginx", "-v"),
            values={**_TUNED, **_NGINX},
            logged=_NGINX_LOG,
        ),
        Proxy(
            "nginx-buffered",
            "as nginx, with proxy_buffering on: one write less per answer",
            _nginx,
            template="nginx.conf",
            package="nginx",
            version=("nginx", "-v"),
            values={**_TUNED, **_NGINX, "BUFFERING": "on"},
            logged=_NGINX_LOG,
        ),
        Proxy(
            "haproxy",
            "the same, nbthread 1, http-reuse always",
            lambda directory, port: ["haproxy", "-db", "-f", f"{directory}/haproxy.cfg"],
            template="haproxy.cfg",
            package="haproxy",
            version=("haproxy", "-v"),
            values={"LOG_TARGET": "", "LOG_OPTION": ""},
            logged={
                "LOG_TARGET": "log stdout format raw local0",
                "LOG_OPTION": "log global\n    option httplog",
            },
        ),
        Proxy(
            "caddy",
            "the same, GOMAXPROCS=1",
            lambda directory, port: [
                *("caddy", "run", "--adapter", "caddyfile"),
                *("--config", f"{directory}/Caddyfile"),
            ],
            template="Caddyfile",
            package="caddy",
            version=("caddy", "version"),
            values={"ACCESS_LOG": ""},
            logged={"ACCESS_LOG": "log {\n\t\toutput file @DIR@/access.log\n\t}"},
            environment={"GOMAXPROCS": "1"},
        ),
        Proxy(
            "aiohttp",
            "aiohttp server and client on uvloop (bench/aiohttp_proxy.py), no log",
            lambda directory, port: [
                *(_PYTHON, "-m", "bench.aiohttp_proxy"),
                *(str(directory), str(port)),
            ],
        ),
        Proxy(
            "synproxy",
            "the same routes and settings, gzip off",
            _synproxy,
            template="synproxy.yaml",
            values={**_TUNED, "CONNECTION": "", "GZIP": "false", "ACCESS_LOG": "off"},
            logged={"ACCESS_LOG": "@DIR@/access.log"},
        ),
        Proxy(
            "relay",
            "not a proxy: bytes copied by uvloop, the floor for Python (bench/relay.py)",
            lambda directory, port: [
                *(_PYTHON, "-m", "bench.relay"),
                *(f"{directory}/normal_sync1.sock", str(port)),
            ],
            forwards_headers=False,
        ),
        Proxy(
            "nginx-seed",
            "the seed as written: no upstream keep-alive, gzip 2, 100 requests a connection",
            _nginx,
            template="nginx.conf",
            package="nginx",
            version=("nginx", "-v"),
            values={**_SEED, **_NGINX, "CONNECTION": "$connection_upgrade", "GZIP": "on"},
            logged=_NGINX_LOG,
        ),
        Proxy(
            "synproxy-seed",
            "the seed as written: no upstream keep-alive, gzip 2, 100 requests a connection",
            _synproxy,
            template="synproxy.yaml",
            values={**_SEED, "CONNECTION": "close", "GZIP": "true", "ACCESS_LOG": "off"},
            logged={"ACCESS_LOG": "@DIR@/access.log"},
        ),
    )
}


def named(names: str) -> list[Proxy]:
    """The proxies of a comma-separated list; ends the program on an unknown one."""
    unknown = [name for name in names.split(",") if name not in ALL]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(ALL)}")
    return [ALL[name] for name in names.split(",")]


def missing_packages(proxies: Sequence[Proxy], also: Sequence[str] = ()) -> list[str]:
    """The Debian packages to install before these can run; ``also``: tools named as packages."""
    wanted = {proxy.package: proxy.package for proxy in proxies if proxy.package}
    wanted.update({tool: tool for tool in also})
    return sorted(package for package, tool in wanted.items() if shutil.which(tool) is None)


def require_tools(proxies: Sequence[Proxy], also: Sequence[str], install: bool) -> None:
    """Installs what is missing (``install``) or ends the program with what to type."""
    missing = missing_packages(proxies, also)
    if not missing:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if not install:
        sys.exit(f"not installed: {', '.join(missing)}\nas root: {' '.join(command)}")
    subprocess.run(command, check=True)


def interpreter() -> str:
    """Which interpreter runs synproxy; how it was built changes its speed by 10 % and more."""
    script = (
        "import platform; "
        "linked = 'libpython' in open('/proc/self/maps').read(); "
        "print(platform.python_implementation(), platform.python_version(), "
        "platform.python_compiler(), 'libpython', 'shared' if linked else 'built in')"
    )
    command = [SYNPROXY_PYTHON, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def raise_file_limit() -> int:
    """Lets this process and its children open as many files as it may; returns how many."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):  # only root may raise the hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (65536, max(hard, 65536)))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Running:
    """A started proxy."""

    def __init__(self, proxy: Proxy, port: int, process: subprocess.Popen[bytes]) -> None:
        self.proxy = proxy
        self.port = port
        self._process = process

    def pids(self) -> list[int]:
        """All its processes."""
        return procs.tree(self._process.pid)


@contextlib.contextmanager
def standin(directory: Path, core: int, body_size: int = 1024) -> Iterator[None]:
    """The workers' stand-in, listening in ``directory``."""
    command = [_PYTHON, "-m", "bench.standin", str(directory), *SERVERS]
    command += ["--body-size", str(body_size)]
    for left_over in directory.glob("*.sock"):
        left_over.unlink()
    with procs.pinned(core):
        process = subprocess.Popen(command, env=_environment())
    try:
        _wait(process, lambda: all((directory / f"{name}.sock").exists() for name in SERVERS))
        yield
    finally:
        _stop(process)


@contextlib.contextmanager
def running(proxy: Proxy, directory: Path, core: int, log: bool = False) -> Iterator[Running]:
    """Starts a proxy on ``core``, waits until it forwards, and stops it in the end.

    Raises RuntimeError with the last lines it wrote when it does not come up.
    """
    port = _free_port()
    if proxy.template:
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        values = {**proxy.values, **(proxy.logged if log else {}), "PORT": str(port)}
        values |= {"FILES": str(files), "EXCHANGES": str((files - 200) // 2)}
        _render(proxy.template, directory, values)
    output = directory / f"{proxy.name}.out"
    environment = {**_environment(), **proxy.environment}
    with output.open("wb") as sink, procs.pinned(core):
        process = subprocess.Popen(
            proxy.command(directory, port), stdout=sink, stderr=sink, env=environment
        )
    try:
        try:
            _wait(process, lambda: _answers(port))
        except RuntimeError as error:
            tail = output.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{proxy.name}: {error}\n{tail}") from None
        yield Running(proxy, port, process)
    finally:
        _stop(process)


def _environment() -> dict[str, str]:
    """Ours, with this checkout and the libraries of this interpreter on the import path."""
    path = os.pathsep.join((str(BENCH.parent), sysconfig.get_path("purelib")))
    return {**os.environ, "PYTHONPATH": path}


def _render(template: str, directory: Path, values: Mapping[str, str]) -> None:
    text = (BENCH / "configs" / template).read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    (directory / template).write_text(text.replace("@DIR@", str(directory)))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(matrix.sync_request("s0", 0, "probe"))
            return connection.recv(65536).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _wait(process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not ready():
        if process.poll() is not None:
            raise RuntimeError(f"ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise RuntimeError("not ready after 20 seconds")
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Fast shutdown; whatever still lives of the tree is killed."""
    pids = procs.tree(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in pids[1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
