"""The proxies under test: how each is configured and started.

All get the same routes, pools and forwarded headers (bench/configs, bench/lib/setup.py). What is
measured is none of this module's business.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.lib import interpreters
from bench.lib.result import NOT_YET
from bench.lib.setup import Setup
from synproxy.config.model import Config, Http, Listener

_SYNPROXY = "import sys; from synproxy.cli.main import main; sys.exit(main())"
COMPILED = Path(__file__).parents[2] / "build" / "compiled"
"""What ``make compiled`` leaves: the same synproxy, its hot path compiled by mypyc."""
_PYTHON = interpreters.chosen()
Command = Callable[[Path, int, Setup], list[str]]
"""(directory, port, setup)"""


def _able(setup: Setup) -> str:
    return ""


def _one_process(setup: Setup) -> str:
    return "one process" if setup.processes > 1 else ""


@dataclass(frozen=True, slots=True)
class Proxy:
    """One row of a comparison."""

    name: str
    about: str
    command: Command
    template: str = ""  # in bench/configs, without .j2; written to the directory
    package: str = ""  # the Debian package that holds the program
    version: tuple[str, ...] = ()
    values: Mapping[str, object] = field(default_factory=dict)  # for the template
    environment: Callable[[Setup], Mapping[str, str]] = lambda setup: {}
    unable: Callable[[Setup], str] = _able
    """Why it cannot serve this; nothing, if it can."""
    forwards_headers: bool = True
    interpreter: str = ""
    """Of synproxy: which Python runs it."""


def _nginx(directory: Path, port: int, setup: Setup) -> list[str]:
    return ["nginx", "-e", f"{directory}/nginx-error.log", "-c", f"{directory}/nginx.conf"]


def _synproxy(interpreter: str, *, compiled: bool = False) -> Command:
    def command(directory: Path, port: int, setup: Setup) -> list[str]:
        # By the environment, which its children inherit.
        libraries = sysconfig.get_path("purelib")
        path = ["env", f"PYTHONPATH={COMPILED}{os.pathsep}{libraries}"] if compiled else []
        program = [*path, interpreter, "-P", "-c", _SYNPROXY]
        return [*program, "run", "--config", f"{directory}/synproxy.yaml"]

    return command


def _compiled_unable(setup: Setup) -> str:
    return _synproxy_unable(setup) if COMPILED.exists() else "not built: make compiled"


def _synproxy_unable(setup: Setup) -> str:
    """What the configuration has no words for yet, synproxy cannot do yet."""
    missing = (
        (setup.tls and "tls" not in Listener.model_fields)
        or (setup.http2 and "http2" not in {*Listener.model_fields, *Http.model_fields})
        or (setup.processes > 1 and "children" not in Config.model_fields)
    )
    return NOT_YET if missing else ""


def _aiohttp_unable(setup: Setup) -> str:
    if setup.gzip or setup.tls or setup.processes > 1:
        return "not built for it"
    return ""


_TUNED = {"keepalive": 256, "keepalive_requests": 1000000000, "buffering": "off", "seed": False}
_SEED = {"keepalive": 10, "keepalive_requests": 100, "buffering": "off", "seed": True}

ALL = {
    proxy.name: proxy
    for proxy in (
        Proxy(
            "nginx",
            'the seed\'s routes and settings, `Connection ""` so that keep-alive works',
            _nginx,
            template="nginx.conf",
            package="nginx",
            version=("nginx", "-v"),
            values=_TUNED,
        ),
        Proxy(
            "haproxy",
            "the same, http-reuse always; its compression has no minimum length",
            lambda directory, port, setup: ["haproxy", "-db", "-f", f"{directory}/haproxy.cfg"],
            template="haproxy.cfg",
            package="haproxy",
            version=("haproxy", "-v"),
        ),
        Proxy(
            "caddy",
            "the same, GOMAXPROCS as many as processes elsewhere",
            lambda directory, port, setup: [
                *("caddy", "run", "--adapter", "caddyfile"),
                *("--config", f"{directory}/Caddyfile"),
            ],
            template="Caddyfile",
            package="caddy",
            version=("caddy", "version"),
            environment=lambda setup: {"GOMAXPROCS": str(setup.processes)},
        ),
        Proxy(
            "aiohttp",
            "aiohttp server and client on uvloop (bench/aiohttp_proxy.py)",
            lambda directory, port, setup: [
                *(interpreters.OURS, "-m", "bench.aiohttp_proxy", str(directory), str(port)),
                *("--routes", str(setup.routes), "--sync-servers", str(setup.sync_servers)),
            ],
            unable=_aiohttp_unable,
        ),
        Proxy(
            "synproxy",
            "the same routes and settings",
            _synproxy(_PYTHON),
            template="synproxy.yaml",
            values=_TUNED,
            unable=_synproxy_unable,
            interpreter=_PYTHON,
        ),
        Proxy(
            "synproxy-compiled",
            "the same synproxy from `make compiled`: its hot path compiled by mypyc",
            _synproxy(_PYTHON, compiled=True),
            template="synproxy.yaml",
            values=_TUNED,
            unable=_compiled_unable,
            interpreter=_PYTHON,
        ),
        Proxy(
            "synproxy-ownpython",
            "the same synproxy, run by the Python that runs the benchmark",
            _synproxy(interpreters.OURS),
            template="synproxy.yaml",
            values=_TUNED,
            unable=_synproxy_unable,
            interpreter=interpreters.OURS,
        ),
        Proxy(
            "relay",
            "not a proxy: bytes copied by uvloop, the floor for Python (bench/relay.py)",
            lambda directory, port, setup: [
                *(interpreters.OURS, "-m", "bench.relay"),
                *(f"{directory}/normal_sync1.sock", str(port)),
            ],
            unable=_aiohttp_unable,
            forwards_headers=False,
        ),
        Proxy(
            "nginx-buffered",
            "as nginx, with proxy_buffering on: one write less per answer",
            _nginx,
            template="nginx.conf",
            package="nginx",
            version=("nginx", "-v"),
            values={**_TUNED, "buffering": "on"},
        ),
        Proxy(
            "nginx-seed",
            "the seed as written: no upstream keep-alive, 100 requests a connection",
            _nginx,
            template="nginx.conf",
            package="nginx",
            version=("nginx", "-v"),
            values=_SEED,
        ),
        Proxy(
            "synproxy-seed",
            "the seed as written: no upstream keep-alive, 100 requests a connection",
            _synproxy(_PYTHON),
            template="synproxy.yaml",
            values=_SEED,
            unable=_synproxy_unable,
            interpreter=_PYTHON,
        ),
    )
}
USUAL = ("nginx", "haproxy", "caddy", "aiohttp", "synproxy", "synproxy-compiled")


def named(names: str) -> list[Proxy]:
    """The proxies of a comma-separated list; ends the program on an unknown one."""
    unknown = [name for name in names.split(",") if name not in ALL]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(ALL)}")
    return [ALL[name] for name in names.split(",")]


def require_tools(proxies: Sequence[Proxy], also: Mapping[str, str]) -> None:
    """Ends the program with what to type when a program is missing.

    ``also``: further programs, and the Debian packages that hold them.
    """
    wanted = {proxy.package: proxy.package for proxy in proxies if proxy.package} | dict(also)
    missing = sorted(package for tool, package in wanted.items() if shutil.which(tool) is None)
    if missing:
        names = " ".join(missing)
        sys.exit(
            f"not installed: {names}\nas root: apt-get install --no-install-recommends {names}"
        )
