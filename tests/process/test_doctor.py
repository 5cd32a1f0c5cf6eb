"""`synproxy doctor` as an administrator runs it: before and after the start, as root and not."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from synproxy import __version__
from tests.support.fake_synapse import TOKEN, FakeSynapse
from tests.support.process import free_port
from tests.support.synapse_files import SynapseFiles, http
from tests.support.synproxy import Synproxy

CONFIG = """\
listeners: ["127.0.0.1:@PORT@"]
access_log: "off"
http: {client_max_body_size: 50M}
allowlists: {private: [{deny: all}]}
pools:
  main: {servers: ["unix:@RUN@/main.sock"], keepalive_timeout: 50s}
  sync: {servers: ["unix:@RUN@/sync.sock"], keepalive_timeout: 50s}
routes:
  - {name: closed, location: "~ ^/(_synapse|metrics)", pool: main, allowlists: [private]}
  - {name: sync, location: /_matrix/client/v3/sync, pool: sync}
  - {name: all, location: /, pool: main}
"""
BASE = "https://matrix.example.org"


def synapse(**settings: Any) -> FakeSynapse:
    return FakeSynapse(
        client={"m.homeserver": {"base_url": BASE}},
        server={"m.server": "matrix.example.org:443"},
        **settings,
    )


Findings = dict[str, list[dict[str, str]]]


async def doctor(proxy: Synproxy, *arguments: str) -> tuple[int, Findings]:
    return await examine("--config", str(proxy.file), *arguments)


async def examine(*arguments: str) -> tuple[int, Findings]:
    """The exit code, and the findings by check."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "synproxy", "doctor", "--json", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert err == b""
    assert process.returncode is not None
    by_check: Findings = {}
    for finding in json.loads(out)["findings"]:
        by_check.setdefault(finding["check"], []).append(finding)
    return process.returncode, by_check


def failed(findings: Findings) -> set[str]:
    return {name for name, those in findings.items() for f in those if f["status"] == "fail"}


async def test_after_the_switch_everything_is_asked_and_good(sockets: Path) -> None:
    proxy = Synproxy(sockets, CONFIG)
    token = sockets / "token"
    token.write_text(f"{TOKEN}\n")
    async with synapse().on(sockets / "main.sock"), synapse().on(sockets / "sync.sock"):
        with proxy:
            code, found = await doctor(proxy, "--token-file", str(token))
            pid = proxy.pid
    statuses = {f["status"] for name, those in found.items() if name != "user" for f in those}
    assert (code, statuses) == (0, {"ok"})
    assert found["user"][0]["status"] == "warn"  # the tests run as root
    assert found["listener"][0]["reason"] == f"served by synproxy (pid {pid})"
    assert found["descriptors"][0]["subject"] == f"running synproxy (pid {pid})"
    assert found["proxy"][0]["reason"].startswith(f"synproxy {__version__} answers 200")
    assert found["upload"][0]["reason"] == "50 MiB here and in Synapse"
    assert [f["subject"] for f in found["escapes"]] == [
        "this synproxy",
        f"http://127.0.0.1:{proxy.port}",
    ]
    assert [f["reason"] for f in found["well-known"]] == [
        f"base_url {BASE}, as Synapse says",
        "m.server matrix.example.org:443, as Synapse says",
    ]
    assert TOKEN not in str(found)


async def test_before_the_start_the_rest_is_skipped_and_nothing_fails(sockets: Path) -> None:
    proxy = Synproxy(sockets, CONFIG)
    async with synapse().on(sockets / "main.sock"), synapse().on(sockets / "sync.sock"):
        code, found = await doctor(proxy)
    assert (code, failed(found)) == (0, set())
    assert found["listener"][0]["reason"] == "free, and can be bound"
    assert [f["status"] for f in found["escapes"]] == ["ok", "skip"]


async def test_without_synapse_and_network_it_says_what_it_cannot_ask(sockets: Path) -> None:
    code, found = await doctor(Synproxy(sockets, CONFIG))
    assert (code, failed(found)) == (1, {"socket", "pool"})
    assert found["proxy"][0]["status"] == "skip"


async def test_another_user_may_not_connect_and_is_told_how(sockets: Path) -> None:
    proxy = Synproxy(sockets, CONFIG)
    async with synapse().on(sockets / "main.sock"), synapse().on(sockets / "sync.sock"):
        (sockets / "main.sock").chmod(0o660)
        (sockets / "sync.sock").chmod(0o666)
        code, found = await doctor(proxy, "--user", "nobody")
    assert (code, failed(found)) == (1, {"socket", "pool"})
    denied, allowed = found["socket"]
    assert denied["reason"] == (
        "permission denied: nobody (uid 65534, groups nogroup) may not connect"
        " (mode 0660, owner root:root)"
    )
    assert denied["remedy"].startswith("usermod -aG root nobody (or SupplementaryGroups=root")
    assert allowed["reason"] == "nobody can connect (mode 0666, owner root:root)"
    assert found["user"][0]["status"] == "ok"


async def test_the_remedy_helps(sockets: Path) -> None:
    proxy = Synproxy(sockets, CONFIG)
    async with synapse().on(sockets / "main.sock"), synapse().on(sockets / "sync.sock"):
        for name in ("main.sock", "sync.sock"):
            (sockets / name).chmod(0o660)
        code, found = await doctor(proxy, "--user", "nobody:root")
    assert (code, failed(found)) == (0, set())
    assert {f["status"] for f in found["socket"]} == {"ok"}


async def test_a_directory_that_is_closed_to_another_user(sockets: Path) -> None:
    inner = sockets / "closed"
    inner.mkdir(mode=0o700)
    proxy = Synproxy(sockets, CONFIG.replace("@RUN@/main", "@RUN@/closed/main"))
    async with synapse().on(inner / "main.sock"), synapse().on(sockets / "sync.sock"):
        for socket in (inner / "main.sock", sockets / "sync.sock"):
            socket.chmod(0o666)
        code, found = await doctor(proxy, "--user", "nobody")
    assert code == 1
    assert f"may not enter {inner} (mode 0700, owner root:root)" in found["socket"][0]["reason"]
    assert found["socket"][0]["remedy"] == f"chmod o+x {inner}"


async def test_what_is_wrong_behind_a_running_synproxy_is_found(sockets: Path) -> None:
    proxy = Synproxy(sockets, CONFIG)
    token = sockets / "token"
    token.write_text(TOKEN)
    main = synapse(upload=100 << 20)
    sync = synapse(version="Synapse/1.99.0", health=503)
    async with main.on(sockets / "main.sock"), sync.on(sockets / "sync.sock"):
        with proxy:
            code, found = await doctor(proxy, "--token-file", str(token), "--clients", "100000000")
    assert (code, failed(found)) == (1, {"health", "pool", "upload", "descriptors"})
    assert found["synapse"][0]["remedy"] == f"restart unix:{sockets}/sync.sock"


@pytest.fixture
def files(sockets: Path) -> SynapseFiles:
    """Synapse's own files, of one process."""
    found = SynapseFiles(sockets)
    found.shared |= {
        "listeners": [http(f"{sockets}/main.sock", "client", "federation")],
        "public_baseurl": f"{BASE}/",
        "max_upload_size": "60M",
    }
    return found


async def test_synapses_own_files_are_enough(sockets: Path, files: SynapseFiles) -> None:
    paths = [str(path) for path in files.write()]
    listen = f"127.0.0.1:{free_port()}"
    async with synapse().on(sockets / "main.sock"):
        code, found = await examine("--synapse", *paths, "--listen", listen)
    assert (code, failed(found)) == (0, set())
    assert [f["subject"] for f in found["socket"]] == [f"unix:{sockets}/main.sock"]
    assert [f["subject"] for f in found["listener"]] == [listen]
    assert found["upload"][0]["reason"] == "60 MiB here and in Synapse's files"


async def test_a_configuration_is_held_to_synapses_files(
    sockets: Path, files: SynapseFiles
) -> None:
    paths = [str(path) for path in files.write()]
    proxy = Synproxy(sockets, CONFIG)
    async with synapse().on(sockets / "main.sock"), synapse().on(sockets / "sync.sock"):
        code, found = await doctor(proxy, "--synapse", *paths)
    assert (code, failed(found)) == (1, {"upload"})
    assert "at most 50 MiB here, 60 MiB in Synapse's files" in found["upload"][0]["reason"]
    assert len(found["socket"]) == 2  # of the configuration, not of one made from the files


async def test_mistakes_in_synapses_files_are_shown(sockets: Path, files: SynapseFiles) -> None:
    files.shared["max_upload_size"] = "much"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "synproxy", "doctor", "--synapse", *map(str, files.write())),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, out) == (1, b"")
    assert b"max_upload_size: expected a size such as 50M" in err
    assert err.endswith(b"1 mistake\n")


async def test_only_root_becomes_somebody_else(sockets: Path) -> None:
    proxy = Synproxy(sockets, CONFIG)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", AS_NOBODY, str(proxy.file)), stderr=asyncio.subprocess.PIPE
    )
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert err == b"synproxy doctor: --user is for root: Operation not permitted\n"


AS_NOBODY = """\
import os, sys
import synproxy.cli.doctor.examination
from synproxy.cli.main import main
os.setuid(65534)
sys.exit(main(["doctor", "--config", sys.argv[1], "--user", "daemon"]))
"""
