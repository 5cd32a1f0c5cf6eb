"""A configuration of nginx, and what ``import-nginx`` makes of it: do both route alike?"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.differential.corpus import Case
from tests.differential.deployment import Outcome, run
from tests.differential.test_seed_corpus import describe
from tests.support.imported import imported_synproxy
from tests.support.nginx import Nginx
from tests.support.process import free_port
from tests.support.recorder import Recorder

_STAND_IN = re.compile(r"@([a-z_]+[0-9]?)@")
_COMPARED = re.compile(rb"(?:^[A-Z]+ (\S+) )|^((?:Host|X-Forwarded-[A-Za-z]+): .*)$", re.MULTILINE)


@dataclass(slots=True)
class Verdict:
    """What came of it. ``unreached``: servers that no request of nginx got to."""

    compared: int
    wrong: list[str] = field(default_factory=list)
    unreached: set[str] = field(default_factory=set)


def route_alike(
    files: Mapping[str, str], hashed: tuple[str, ...], cases: Sequence[Case]
) -> Verdict:
    """Asks nginx and synproxy the same. ``files``: of nginx, with ``@NAME@`` as each server's
    port. ``hashed``: how the names of servers begin that a consistent hash chooses; of others only
    the pool is compared."""
    cases = [case for case in cases if not _differs_by_design(case)]
    with TemporaryDirectory(prefix="sp") as name, ExitStack() as stack:
        directory = Path(name)
        (directory / "nginx").mkdir()
        (directory / "synproxy").mkdir()
        recorder = stack.enter_context(Recorder(directory))
        servers = _stand_ins(recorder, files.values())
        values = {"FEDERATION": str(free_port()), **servers}
        with Nginx(directory / "nginx", files, values) as nginx:
            wanted = run(nginx, recorder, cases)
        port = str(nginx.port)
        config = directory / "nginx" / "nginx.conf"
        with imported_synproxy(directory / "synproxy", config, port) as synproxy:
            got = run(synproxy, recorder, cases)
        # nginx answers with its own port where $server_port is asked for.
        own = str(synproxy.port).encode(), port.encode()
    verdict = Verdict(len(cases), unreached=set(servers))
    for case in cases:
        one = _compared(wanted[case.number], hashed)
        other = _compared(_on_port(got[case.number], *own), hashed)
        verdict.unreached -= {attempt[0] for attempt in wanted[case.number].attempts}
        if one != other:
            verdict.wrong.append(describe(case, one, other))
    return verdict


def _compared(outcome: Outcome, hashed: tuple[str, ...]) -> Outcome:
    """What must be equal: the pool, the server where the key decides it, the target, the fields
    that Synapse reads, and the body. nginx speaks HTTP/1.0 here and closes, we do not."""
    attempts = []
    for server, head, body in outcome.attempts:
        pool = server if server.startswith(hashed or "\0") else server.rstrip("0123456789")
        fields = [b"".join(found) for found in _COMPARED.findall(head.replace(b"\r", b""))]
        attempts.append((pool, b"\n".join(fields), body))
    # Where no location matches, nginx looks for a file, which it would only GET.
    status = 404 if outcome.status == 405 and not attempts else outcome.status
    return Outcome(status, False, b"", "", tuple(attempts))


def _differs_by_design(case: Case) -> bool:
    """Requests that synproxy refuses (docs/nginx-differences.md)."""
    target = case.request.split(b" ", 2)[1]
    return b"#" in target or any(byte > 0x7E for byte in target)


def _on_port(outcome: Outcome, old: bytes, new: bytes) -> Outcome:
    attempts = tuple(
        (server, head.replace(b":" + old, b":" + new), body)
        for server, head, body in outcome.attempts
    )
    return Outcome(outcome.status, outcome.closes, outcome.body, outcome.pool, attempts)


def _stand_ins(recorder: Recorder, texts: Iterable[str]) -> dict[str, str]:
    """A listening stand-in for every ``@name@`` in the files: its port by its name."""
    names = sorted({name for text in texts for name in _STAND_IN.findall(text)})
    ports = {}
    for name in names:
        listener = socket.create_server(("127.0.0.1", 0))
        ports[name] = str(listener.getsockname()[1])
        recorder.listen_on(name, listener)
    return ports
