"""Stands in for the nginx binary: what a configuration proxies is served by synproxy.

nginx's tests put the proxy and the servers behind it into one file. Server blocks that proxy are
imported, one synproxy each; the others are served by the real nginx. If none proxies, all are
imported. What the import could not carry over is appended to the file in SYNPROXY_SHIM_NOTES.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

import yaml

from synproxy.errors import ConfigError
from synproxy.nginx.importer import import_nginx
from synproxy.nginx.tree import Configuration, Directive, read
from tests.support.nginx import find_nginx

START_DEADLINE = 25.0


def main() -> int:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-p", dest="prefix", type=Path)
    parser.add_argument("-c", dest="config")
    parser.add_argument("-e", dest="errors")
    parser.add_argument("-g", dest="globals", default="")
    args, others = parser.parse_known_args()
    if others or args.prefix is None:  # -V, -t, -T
        plain = os.environ.get("TEST_NGINX_PLAIN", find_nginx())
        os.execv(plain, [plain, *sys.argv[1:]])
    return _Stage(args.prefix).run(args.globals)


class _Stage:
    """All processes for one configuration."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []

    def run(self, extra: str) -> int:
        configuration = read(self._directory / "nginx.conf")
        http = next(one for one in configuration.directives if one.name == "http")
        servers = list(http.all("server"))
        ours = [one for one in servers if _proxies(one)] or servers
        rest = [one for one in servers if one not in ours]
        (self._directory / "error.log").touch()
        for number, server in enumerate(ours):
            self._start_synproxy(configuration, http, server, number)
        if rest:
            self._start_nginx(configuration, http, rest, extra)
        ports = [port for one in servers for port in _ports(one)]
        deadline = time.monotonic() + START_DEADLINE
        while not all(map(_accepts, ports)):
            if time.monotonic() > deadline or any(one.poll() for one in self._processes):
                self._stop(signal.SIGTERM, None)
                return 1
            time.sleep(0.02)
        for number in (signal.SIGQUIT, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        (self._directory / "nginx.pid").write_text(f"{os.getpid()}\n")
        for process in self._processes:
            process.wait()
        return 0

    def _start_synproxy(
        self, configuration: Configuration, http: Directive, server: Directive, number: int
    ) -> None:
        others = tuple(one for one in http.block or () if one.name != "server")
        alone = Directive("http", (), http.file, http.line, http.column, (*others, server))
        directives = tuple(one for one in configuration.directives if one is not http)
        imported = import_nginx(
            Configuration((*directives, alone), configuration.files, configuration.missing)
        )
        if (notes := os.environ.get("SYNPROXY_SHIM_NOTES")) is not None:
            with Path(notes).open("a") as file:
                file.writelines(
                    f"`{one.directive.name}`: {one.meaning}\n" for one in imported.findings
                )
        tree = yaml.safe_load(imported.text)
        tree |= {"access_log": "off", "children": 1}
        path = self._directory / f"synproxy{number}.yaml"
        path.write_text(yaml.safe_dump(tree, sort_keys=False))
        command = [sys.executable, "-m", "synproxy.cli.main", "run", "-c", str(path)]
        with (self._directory / "synproxy.log").open("ab") as log:
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log))

    def _start_nginx(
        self, configuration: Configuration, http: Directive, rest: list[Directive], extra: str
    ) -> None:
        others = tuple(one for one in http.block or () if one.name != "server")
        alone = Directive("http", (), http.file, http.line, http.column, (*others, *rest))
        # The pid file tells the test that all of us have started.
        pid = Directive("pid", (str(self._directory / "rest.pid"),), "", 0, 0)
        written = [
            alone if one is http else pid if one.name == "pid" else one
            for one in configuration.directives
        ]
        path = self._directory / "rest.conf"
        path.write_text("\n".join(_lines(written)) + "\n")
        extra = extra.replace("nginx.pid", "rest.pid").replace("error.log", "rest.log")
        command = [find_nginx(), "-p", str(self._directory), "-c", str(path)]
        self._processes.append(subprocess.Popen([*command, "-e", "rest.log", "-g", extra]))

    def _stop(self, number: int, _: FrameType | None) -> None:
        for process in self._processes:
            process.terminate()


def _proxies(block: Directive) -> bool:
    return any(one.name == "proxy_pass" or _proxies(one) for one in block.block or ())


def _ports(server: Directive) -> Iterator[int]:
    for one in server.all("listen"):
        port = one.args[0].rpartition(":")[2]
        if port.isdecimal() and "udp" not in one.args:
            yield int(port)


def _accepts(port: int) -> bool:
    for host in ("127.0.0.1", "::1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe:
            if probe.connect_ex((host, port)) == 0:
                return True
    return False


def _lines(directives: Iterable[Directive], indent: str = "") -> Iterator[str]:
    """Directives as nginx reads them."""
    for one in directives:
        words = indent + " ".join(map(_quoted, (one.name, *one.args)))
        if one.block is None:
            yield f"{words};"
        else:
            yield f"{words} {{"
            yield from _lines(one.block, indent + "    ")
            yield f"{indent}}}"


def _quoted(word: str) -> str:
    if word and not any(char in " \t\r\n;{}\"'\\#" for char in word):
        return word
    for char, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        word = word.replace(char, escape)
    return f'"{word}"'


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
