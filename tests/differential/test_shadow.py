"""`synproxy replay` beside the real nginx: its log alone says each server that it chose."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from synproxy.cli.main import main
from synproxy.nginx.importer import import_nginx
from synproxy.nginx.tree import read
from tests.differential.corpus import build_corpus
from tests.differential.deployment import LISTEN, SEED, run, stand_ins
from tests.differential.listed_routes import difference
from tests.support.nginx import Nginx, read_tree

EVERY = 13
SHADOW = (
    '$remote_addr [$time_local] "$request" $status $upstream_addr "$http_host" '
    '"$http_authorization"'
)


@pytest.mark.timeout(300)
def test_the_log_of_nginx_agrees_with_its_imported_configuration(
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = read_tree(SEED)
    second = f"log_format shadow '{SHADOW}'; access_log @RUN@/shadow.log shadow;"
    files["nginx.conf"] = files["nginx.conf"].replace("    gzip on;", f"    {second}\n    gzip on;")
    cases = build_corpus()[::EVERY]
    with TemporaryDirectory(prefix="sp") as name:
        directory = Path(name)
        sockets, home = directory / "s", directory / "nginx"
        sockets.mkdir()
        home.mkdir()
        listen = "".join(f"listen {address}:@PORT@; " for address in LISTEN)
        values = {"SOCKETS": str(sockets), "LISTEN": listen}
        with stand_ins(sockets) as recorder, Nginx(home, files, values) as nginx:
            outcomes = run(nginx, recorder, cases)
        config = directory / "synproxy.yaml"
        config.write_text(import_nginx(read(home / "nginx.conf")).text)
        log = str(home / "shadow.log")
        status = main(["replay", log, "-c", str(config), "--log-format", SHADOW, "--json"])
    told = json.loads(capsys.readouterr().out)
    listed = [
        case
        for case in cases
        if outcomes[case.number].attempts and difference(case, outcomes[case.number]) is not None
    ]
    assert told["requests"] == len(cases) + 1  # the one that run() ends with
    assert told["beside_nginx"].get("other server", 0) == 0
    assert told["beside_nginx"]["other pool"] == len(listed)
    assert told["beside_nginx"]["same"] > 1000
    assert status == 3
