"""Configurations in the manner of Synapse's image and of the companion of
matrix-docker-ansible-deploy: imported, they route as nginx does.

Both projects are under the AGPL, so none of their files is here: these have their structure and
directives, in our own words (tests/differential/imports).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.differential.corpus import Case, build_corpus
from tests.differential.deployment import Outcome, run
from tests.differential.test_seed_corpus import describe
from tests.support.imported import imported_synproxy
from tests.support.nginx import Nginx, read_tree
from tests.support.process import free_port
from tests.support.recorder import Recorder
from tests.unit.nginx.test_locations import FOUND, NESTED

pytestmark = pytest.mark.timeout(300)

IMPORTS = Path(__file__).parent / "imports"
EVERY = 17
_STAND_IN = re.compile(r"@([a-z_]+[0-9]?)@")
_COMPARED = re.compile(rb"(?:^[A-Z]+ (\S+) )|^((?:Host|X-Forwarded-[A-Za-z]+): .*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Deployment:
    """One of the configurations; ``hashed``: how the names of servers begin that a consistent hash
    chooses."""

    name: str
    hashed: tuple[str, ...]


DEPLOYMENTS = (Deployment("image", ()), Deployment("companion", ("room", "sync")))


def compared(outcome: Outcome, hashed: tuple[str, ...]) -> Outcome:
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


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment.name)
def test_an_imported_configuration_routes_as_nginx(deployment: Deployment) -> None:
    files = read_tree(IMPORTS / deployment.name)
    cases = [case for case in build_corpus()[::EVERY] if not _differs_by_design(case)]
    with TemporaryDirectory(prefix="sp") as name, ExitStack() as stack:
        directory = Path(name)
        (directory / "nginx").mkdir()
        (directory / "synproxy").mkdir()
        recorder = stack.enter_context(Recorder(directory))
        values = {"FEDERATION": str(free_port()), **_stand_ins(recorder, files.values())}
        with Nginx(directory / "nginx", files, values) as nginx:
            wanted = run(nginx, recorder, cases)
        port = str(nginx.port)
        config = directory / "nginx" / "nginx.conf"
        with imported_synproxy(directory / "synproxy", config, port) as synproxy:
            got = run(synproxy, recorder, cases)
        # nginx answers with its own port where $server_port is asked for.
        own = str(synproxy.port).encode(), port.encode()
    wrong, servers = [], set()
    for case in cases:
        one = compared(wanted[case.number], deployment.hashed)
        other = compared(_on_port(got[case.number], *own), deployment.hashed)
        servers |= {attempt[0] for attempt in wanted[case.number].attempts}
        if one != other:
            wrong.append(describe(case, one, other))
    assert not wrong, f"{len(wrong)} of {len(cases)}:\n" + "\n".join(wrong[:10])
    assert len(cases) > 1000
    assert servers == values.keys() - {"FEDERATION"}


def test_nginx_finds_the_locations_that_the_unit_test_expects(tmp_path: Path) -> None:
    scratch = "".join(
        f"{name}_temp_path @RUN@/{name}; "
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = (
        "daemon off; master_process off; pid @RUN@/nginx.pid; events { }\n"
        f"http {{ access_log off; {scratch} server {{ listen 127.0.0.1:@PORT@; {NESTED} }} }}"
    )
    with Nginx(tmp_path, {"nginx.conf": config}) as nginx:
        found = []
        for path, _ in FOUND:
            connection = HTTPConnection("127.0.0.1", nginx.port)
            connection.request("GET", path)
            found.append((path, connection.getresponse().status))
            connection.close()
    assert found == FOUND


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
