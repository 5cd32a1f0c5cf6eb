"""A client that makes a new TLS connection for every request, and checks the answer."""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path

from bench.lib import matrix, stats
from bench.lib.load import Load
from bench.lib.running import trusting

REQUEST = matrix.sync_request("s0", 0, "user0").replace(
    b"Connection: keep-alive", b"Connection: close"
)


def handshakes(port: int, seconds: float, directory: Path, *, resume: bool) -> Load:
    """New connections, one after the other; ``resume``: with the session of the one before."""
    context = trusting(directory)
    session: ssl.SSLSession | None = None
    if resume:
        session, _, _ = _request(port, context, None)
    problems: list[str] = []
    latencies: list[float] = []
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        sent = time.monotonic()
        try:
            latest, reused, problem = _request(port, context, session)
            if reused != resume:
                problem = problem or f"the session was {'not ' if resume else ''}resumed"
            session = latest if resume else None
        except OSError as error:
            problem = f"{type(error).__name__}: {error}"
        if problem:
            problems.append(problem)
        latencies.append((time.monotonic() - sent) * 1e3)
    return Load(
        len(latencies),
        time.monotonic() - began,
        stats.percentile(latencies, 50),
        stats.percentile(latencies, 99),
        tuple(dict.fromkeys(problems)),
    )


def _request(
    port: int, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[ssl.SSLSession | None, bool | None, str]:
    """The session for the next one, whether this one was resumed, and what was wrong."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=matrix.HOST, session=session) as connection,
    ):
        connection.sendall(REQUEST)
        data = b""
        while block := connection.recv(65536):
            data += block
        head, _, body = data.partition(b"\r\n\r\n")
        right = head.startswith(b"HTTP/1.1 200 ") and body.endswith(b"\r\n0\r\n\r\n")
        problem = "" if right else f"answered {data[:60]!r}"
        return connection.session, connection.session_reused, problem
