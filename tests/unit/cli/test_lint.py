"""`synproxy lint` prints findings as `check` prints mistakes, and fails if one is an error."""

from __future__ import annotations

import json
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from synproxy.cli.main import main
from tests.support.paths import ROOT
from tests.support.synapse_files import GENERIC, SynapseFiles

SHIPPED = ROOT / "config" / "synapse-workers.yaml"
SMALL = """\
listeners: ["8008"]
pools:
  main: {servers: ["unix:@RUN@/main.sock"]}
  client_reader: {servers: ["unix:@RUN@/client_reader1.sock"]}
routes:
  - {name: auth, location: '~ ^/_matrix/client/v3/auth/', pool: client_reader}
  - {name: closed, location: '~ ^/_synapse/(admin|mas|replication|metrics)', respond: {status: 403}}
  - {name: main, location: /, pool: main}
"""


@pytest.fixture
def run() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="syn") as directory:
        yield Path(directory)


def written(directory: Path, text: str = SMALL) -> str:
    path = directory / "synproxy.yaml"
    path.write_text(text.replace("@RUN@", str(directory)))
    return str(path)


@contextmanager
def synapse(socket: Path, version: str) -> Iterator[None]:
    """A server that says it is this version of Synapse."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"server": {"name": "Synapse", "version": version}}).encode()
            self.send_response(200 if self.path == "/_matrix/federation/v1/version" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: object) -> None:
            return

    with socketserver.UnixStreamServer(str(socket), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


def test_a_finding_has_a_place_a_reason_a_hint_and_an_example(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(run)
    assert main(["lint", "--config", file]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith(
        f'{file}:6:28: error: route "auth" sends 1 endpoint to pool "client_reader", which does '
        "not have it [misrouted]\n"
        "      - {name: auth, location: '~ ^/_matrix/client/v3/auth/', pool: client_reader}\n"
        "                               ^\n"
        "    why: Synapse answers 404 M_UNRECOGNIZED (or fails with 500) where another process "
        "would have served the request\n"
        "    hint: let the regex take less, or write a route for them before this one\n"
        "    e.g. GET, POST /_matrix/client/(r0|v3|unstable)/auth/{stagetype}/fallback/web\n"
    )
    assert printed.splitlines()[-1].startswith("1 error, ")


def test_long_lists_are_cut_for_people_only(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(run, SMALL.replace("  - {name: main, location: /, pool: main}\n", ""))
    assert main(["lint", "--config", file]) == 1
    assert "         and " in capsys.readouterr().out
    assert main(["lint", "--config", file, "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    unrouted = next(one for one in content["findings"] if one["rule"] == "unrouted")
    assert len(unrouted["examples"]) > 100
    assert unrouted.keys() == {
        *("rule", "severity", "file", "line", "column", "what", "why", "hint", "examples")
    }
    assert content["version"] == "v1.163"


def test_the_shipped_configuration_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "--config", str(SHIPPED)]) == 0
    assert capsys.readouterr().out == "0 errors, 0 warnings\n"


def test_warnings_alone_are_no_failure(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = SMALL.replace(
        "  - {name: auth, location: '~ ^/_matrix/client/v3/auth/', ",
        "  - {name: v, location: '~ ^/_matrix/client/versions$', ",
    )
    assert main(["lint", "--config", written(run, text)]) == 0
    assert "0 errors, " in capsys.readouterr().out
    assert main(["lint", "--config", written(run, text), "--version", "1.999"]) == 0
    assert "Synapse v1.999 is not known here" in capsys.readouterr().out


def test_a_configuration_that_does_not_load_is_shown_as_check_shows_it(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lint", "--config", written(run, "listeners: []\n")]) == 1
    assert "synproxy.yaml:1:12:" in capsys.readouterr().err


def test_what_init_would_write_is_looked_at_without_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = map(str, SynapseFiles(tmp_path).several(GENERIC).write())
    assert main(["lint", "--synapse", *paths]) == 0
    assert capsys.readouterr().out == "0 errors, 0 warnings\n"


def test_synapses_files_say_what_the_servers_of_a_file_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = SynapseFiles(tmp_path).worker("fred", "federation")
    text = SMALL.replace("unix:@RUN@/", "unix:/run/matrix-synapse/").replace(
        "client_reader1.sock", "fred.sock"
    )
    options = ["--config", written(tmp_path, text), "--synapse", *map(str, files.write())]
    assert main(["lint", *options]) == 1
    assert 'route "auth" sends 1 endpoint' in capsys.readouterr().out


def test_synapse_is_asked_for_its_version(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(run)
    with synapse(run / "main.sock", "1.129.0 (b=develop)"):
        main(["lint", "--config", file, "--ask", "--json"])
    assert json.loads(capsys.readouterr().out)["version"] == "v1.129"


def test_a_server_that_does_not_answer_is_passed_over(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(run)
    with synapse(run / "client_reader1.sock", "1.130.0"):
        main(["lint", "--config", file, "--ask", "--json"])
    assert json.loads(capsys.readouterr().out)["version"] == "v1.130"


def test_a_version_is_asked_for_or_given_not_both(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lint", "--config", written(run), "--ask", "--version", "1.163"]) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_nobody_to_ask_is_a_failure(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "--config", written(run), "--ask"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("no server says its version:\n")
    assert f"unix:{run}/main.sock: " in printed.err
