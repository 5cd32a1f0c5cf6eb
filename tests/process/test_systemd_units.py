"""The files for systemd, judged by systemd itself."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
SHUTDOWN_TIMEOUT = 60  # Config.shutdown_timeout's default, seconds


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)


def read(unit: str) -> list[tuple[str, str]]:
    """Directives in order; systemd allows a name to come again."""
    lines = (UNITS / unit).read_text().splitlines()
    return [
        (name, value)
        for name, separator, value in (line.partition("=") for line in lines)
        if separator and not name.startswith("#")
    ]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units with this checkout's synproxy for the one that an admin would install."""
    program = Path(sys.executable).with_name("synproxy")
    for unit in ("synproxy.service", "synproxy.socket"):
        text = (UNITS / unit).read_text()
        (tmp_path / unit).write_text(re.sub(r"(?m)^(Exec\w+=)synproxy ", rf"\1{program} ", text))
    return tmp_path


def test_systemd_accepts_the_units_without_a_word(installed: Path) -> None:
    result = run(
        *("systemd-analyze", "verify", "--man=no"),  # the pages are not installed here
        installed / "synproxy.service",
        installed / "synproxy.socket",
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_service_is_hardened_to_an_exposure_below_two(installed: Path) -> None:
    result = run(
        "systemd-analyze",
        "security",
        "--offline=yes",
        "--threshold=20",
        "--no-pager",
        installed / "synproxy.service",
    )
    assert result.returncode == 0, result.stdout
    exposure = re.search(r"Overall exposure level for synproxy\.service: ([0-9.]+)", result.stdout)
    assert exposure is not None
    assert float(exposure[1]) < 2.0


def test_a_bad_configuration_stops_neither_a_start_nor_a_reload_halfway() -> None:
    commands = [(name, value) for name, value in read("synproxy.service") if name[:4] == "Exec"]
    check = "synproxy check --quiet --config /etc/synproxy/synproxy.yaml"
    assert commands == [
        ("ExecStartPre", check),
        ("ExecStart", "synproxy run --config /etc/synproxy/synproxy.yaml"),
        ("ExecReload", "synproxy reload --config /etc/synproxy/synproxy.yaml"),
    ]


def test_systemd_waits_longer_for_the_end_than_synproxy_drains() -> None:
    assert int(dict(read("synproxy.service"))["TimeoutStopSec"]) > SHUTDOWN_TIMEOUT


def test_the_socket_listens_on_both_families() -> None:
    streams = [value for name, value in read("synproxy.socket") if name == "ListenStream"]
    assert streams == ["0.0.0.0:8008", "[::]:8008"]
    assert ("BindIPv6Only", "ipv6-only") in read("synproxy.socket")


def test_the_user_and_the_directories_can_be_created(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    users = run("systemd-sysusers", f"--root={tmp_path}", UNITS / "synproxy.sysusers")
    assert users.returncode == 0, users.stderr
    assert "synproxy:x:" in (tmp_path / "etc/passwd").read_text()
    groups = (tmp_path / "etc/group").read_text()
    assert {line.partition(":")[0] for line in groups.splitlines()} == {
        "synproxy",
        "matrix-synapse",
    }
    directories = run(
        "systemd-tmpfiles", f"--root={tmp_path}", "--create", UNITS / "synproxy.tmpfiles"
    )
    assert directories.returncode == 0, directories.stderr
    assert (tmp_path / "run/synproxy").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "var/log/synproxy").stat().st_mode & 0o777 == 0o750


def test_the_drop_in_does_nothing_until_it_is_uncommented() -> None:
    lines = (UNITS / "synproxy.service.d/notify-reload.conf").read_text().splitlines()
    assert all(line.startswith("#") for line in lines)
    section = lines.index("# [Service]")
    drop_in = configparser.ConfigParser()
    drop_in.optionxform = str  # type: ignore[assignment,method-assign]
    drop_in.read_string("\n".join(line[2:] for line in lines[section:]))
    assert dict(drop_in["Service"]) == {"Type": "notify-reload", "ExecReload": ""}
