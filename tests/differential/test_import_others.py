"""Configurations in the manner of Synapse's image and of the companion of
matrix-docker-ansible-deploy: imported, they route as nginx does.

Both projects are under the AGPL, so none of their files is here: these have their structure and
directives, in our own words (tests/differential/imports). ``make templates`` does the same with the
real ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.differential.corpus import build_corpus
from tests.differential.imported import route_alike
from tests.support.nginx import SCRATCH, Nginx, read_tree
from tests.unit.nginx.test_locations import FOUND, NESTED

pytestmark = pytest.mark.timeout(300)

IMPORTS = Path(__file__).parent / "imports"
EVERY = 17


@dataclass(frozen=True, slots=True)
class Deployment:
    """One of the configurations; ``hashed``: how the names of servers begin that a consistent hash
    chooses."""

    name: str
    hashed: tuple[str, ...]


DEPLOYMENTS = (Deployment("image", ()), Deployment("companion", ("room", "sync")))


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment.name)
def test_an_imported_configuration_routes_as_nginx(deployment: Deployment) -> None:
    files = read_tree(IMPORTS / deployment.name)
    verdict = route_alike(files, deployment.hashed, build_corpus()[::EVERY])
    wrong = verdict.wrong
    assert not wrong, f"{len(wrong)} of {verdict.compared}:\n" + "\n".join(wrong[:10])
    assert verdict.compared > 1000
    assert not verdict.unreached


def test_nginx_finds_the_locations_that_the_unit_test_expects(tmp_path: Path) -> None:
    config = (
        "daemon off; master_process off; pid @RUN@/nginx.pid; events { }\n"
        f"http {{ access_log off; {SCRATCH} server {{ listen 127.0.0.1:@PORT@; {NESTED} }} }}"
    )
    with Nginx(tmp_path, {"nginx.conf": config}) as nginx:
        found = []
        for path, _ in FOUND:
            connection = HTTPConnection("127.0.0.1", nginx.port)
            connection.request("GET", path)
            found.append((path, connection.getresponse().status))
            connection.close()
    assert found == FOUND
