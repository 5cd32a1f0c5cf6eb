"""The commands of the documentation that need a running synproxy, typed as they stand there."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.synproxy import Synproxy
from tests.unit.docs.blocks import Command, commands

CONFIG = """\
listeners: ["127.0.0.1:@PORT@"]
access_log: "off"
children: 1
admin: unix:@RUN@/admin.sock
control_socket: unix:@RUN@/control.sock
pools:
  login: {servers: ["unix:@RUN@/inbound_login.sock", "unix:@RUN@/inbound_login2.sock"]}
  sync: {servers: ["unix:@RUN@/inbound_normal_sync1.sock", "unix:@RUN@/inbound_normal_sync2.sock"]}
routes:
  - {name: versions, location: = /_matrix/client/versions, respond: {status: 200}}
  - {name: login, location: /login, pool: login}
  - {name: rest, location: /, pool: sync}
"""
ASKED = ("status", "drain", "undrain", "maintenance", "reload")
"""Commands of synproxy that ask the running one, and end."""


def typed() -> list[Command]:
    """Each once, in the order of the pages: what is drained is undrained later."""
    found = {tuple(one.words): one for one in commands()}
    return [
        one
        for words, one in found.items()
        if words[0] == "curl" or (words[0] == "synproxy" and words[1:2] and words[1] in ASKED)
    ]


def as_here(command: Command, proxy: Synproxy) -> list[str]:
    """With the sockets, the port and the configuration of this one."""
    places = {
        "/run/synproxy/": f"{proxy.directory}/",
        "127.0.0.1:8008": f"127.0.0.1:{proxy.port}",
    }
    words = command.words
    for there, place in places.items():
        words = [word.replace(there, place) for word in words]
    if words[0] == "curl":
        return [*words, "--fail", "--silent", "--show-error"]

    return [sys.executable, "-m", *words, "--config", str(proxy.file)]


def wait_for(*sockets: Path) -> None:
    """The sockets for operators are there a moment after those for clients."""
    deadline = time.monotonic() + 60
    while not all(map(Path.exists, sockets)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_they_do_what_they_say(tmp_path: Path) -> None:
    wanted = typed()
    assert {one.words[1] for one in wanted if one.words[0] == "synproxy"} == set(ASKED)
    with Synproxy(tmp_path, CONFIG, {}) as proxy:
        wait_for(tmp_path / "control.sock", tmp_path / "admin.sock")
        for command in wanted:
            words = as_here(command, proxy)
            done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=60)
            assert done.returncode == 0, (command.line, done.stdout, done.stderr)
            if words[-1] != "--show-error" or "--unix-socket" in words:
                assert done.stdout, command.line
            if "--json" in words and words[0] != "curl":
                assert json.loads(done.stdout)["children"]
