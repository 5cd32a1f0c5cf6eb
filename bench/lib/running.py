"""Starts the stand-in and the proxies, waits until they answer, and stops what it started."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jinja2

from bench.lib import matrix, procs
from bench.lib.proxies import Proxy
from bench.lib.setup import Setup

BENCH = Path(__file__).resolve().parent.parent
HASHED = ("initial_sync", "normal_sync")
"""The pools in which a user stays with a server."""


class Running:
    """A started proxy."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self._process = process

    def pids(self) -> list[int]:
        """All its processes."""
        return procs.tree(self._process.pid)


@contextlib.contextmanager
def standin(
    directory: Path, setup: Setup, sizes: Sequence[int], cores: Sequence[int]
) -> Iterator[None]:
    """The workers' stand-in, listening in ``directory``."""
    names = [*setup.servers(), "control"]
    command = [sys.executable, "-m", "bench.standin", str(directory), *names]
    command += ["--sizes", ",".join(str(size) for size in sizes)]
    for left_over in directory.glob("*.sock"):
        left_over.unlink()
    with procs.pinned(cores):
        process = subprocess.Popen(command, env=_environment())
    try:
        _wait(process, lambda: all((directory / f"{name}.sock").exists() for name in names))
        yield
    finally:
        _stop(process)


@contextlib.contextmanager
def running(
    proxy: Proxy, setup: Setup, directory: Path, cores: Sequence[int], log: bool = False
) -> Iterator[Running]:
    """Starts a proxy on ``cores``, waits until it forwards, and stops it in the end.

    Raises RuntimeError with the last lines it wrote when it does not come up.
    """
    port = _free_port()
    if proxy.template:
        text = render(proxy, setup, directory, port, log)
        (directory / proxy.template).write_text(text)
    output = directory / f"{proxy.name}.out"
    environment = {**_environment(), **proxy.environment(setup)}
    with output.open("wb") as sink, procs.pinned(cores):
        process = subprocess.Popen(
            proxy.command(directory, port, setup), stdout=sink, stderr=sink, env=environment
        )
    try:
        try:
            context = trusting(directory) if setup.tls else None
            _wait(process, lambda: _answers(port, context))
        except RuntimeError as error:
            tail = output.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{proxy.name}: {error}\n{tail}") from None
        yield Running(port, process)
    finally:
        _stop(process)


def make_certificate(directory: Path) -> None:
    """An ECDSA P-256 certificate for the names used here, as Let's Encrypt gives by default."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", f"/CN={matrix.HOST}"]
    command += ["-addext", f"subjectAltName=DNS:{matrix.HOST},DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", f"{directory}/key.pem", "-out", f"{directory}/cert.pem"]
    subprocess.run(command, check=True, capture_output=True)
    both = (directory / "cert.pem").read_text() + (directory / "key.pem").read_text()
    (directory / "both.pem").write_text(both)


def trusting(directory: Path) -> ssl.SSLContext:
    """A client's context that accepts the certificate in ``directory`` and no other."""
    return ssl.create_default_context(cafile=f"{directory}/cert.pem")


def raise_file_limit() -> int:
    """Lets this process and its children open as many files as it may; returns how many."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):  # only root may raise the hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (65536, max(hard, 65536)))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _environment() -> dict[str, str]:
    """Ours, with this checkout and the libraries of this interpreter on the import path."""
    path = os.pathsep.join((str(BENCH.parent), sysconfig.get_path("purelib")))
    return {**os.environ, "PYTHONPATH": path}


def render(proxy: Proxy, setup: Setup, directory: Path, port: int, log: bool = False) -> str:
    """The configuration file of a proxy that has a template."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(BENCH / "configs"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        autoescape=False,  # these are no web pages
    )
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    text = templates.get_template(f"{proxy.template}.j2").render(
        **proxy.values,
        setup=setup,
        port=port,
        log=log,
        scheme="https" if setup.tls else "http",
        directory=directory,
        hashed=HASHED,
        files=files,
        exchanges=(files - 200) // 2,
    )
    return text + "\n"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int, context: ssl.SSLContext | None) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as plain:
            if context is None:
                return _answer(plain)
            with context.wrap_socket(plain, server_hostname=matrix.HOST) as connection:
                return _answer(connection)
    except OSError:
        return False


def _answer(connection: socket.socket) -> bool:
    connection.sendall(matrix.sync_request("s0", 0, "probe"))
    # 401: a real Synapse, which does not know the token.
    return connection.recv(65536).startswith((b"HTTP/1.1 200", b"HTTP/1.1 401"))


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
