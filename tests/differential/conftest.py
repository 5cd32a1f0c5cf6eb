"""nginx and synproxy over the same scripted servers, for the tests of HTTP itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.differential import semantics_pair
from tests.differential.bench import Bench
from tests.support.process import ProxyProcess
from tests.support.synproxy import Synproxy

LOOPS = ("uvloop", "asyncio")


@pytest.fixture(scope="package")
def bench() -> Iterator[Bench]:
    with TemporaryDirectory(prefix="sp") as name:  # short: a socket path has 107 bytes
        directory = Path(name)
        sockets = directory / "s"
        for part in ("s", "nginx", *LOOPS):
            (directory / part).mkdir()
        with (
            semantics_pair.servers(sockets) as recorder,
            semantics_pair.nginx(directory / "nginx", sockets) as nginx,
        ):
            yield Bench(directory, recorder, nginx)


@pytest.fixture(scope="package", params=LOOPS)
def synproxy(bench: Bench, request: pytest.FixtureRequest) -> Iterator[Synproxy]:
    loop: str = request.param
    directory, sockets = bench.directory / loop, bench.directory / "s"
    with semantics_pair.synproxy(directory, sockets, loop) as process:
        yield process


@pytest.fixture(params=["nginx", "synproxy"])
def either(bench: Bench, synproxy: Synproxy, request: pytest.FixtureRequest) -> ProxyProcess:
    """Both proxies, where they do the same."""
    return bench.nginx if request.param == "nginx" else synproxy
