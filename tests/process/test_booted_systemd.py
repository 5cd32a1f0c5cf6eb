"""synproxy under a systemd that has booted, with the units as they are shipped."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.booted import Machine, booted
from tests.support.paths import ROOT

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make namespaces"),
    pytest.mark.timeout(240),
]

UNITS = ROOT / "systemd"
FILE = "/etc/synproxy/synproxy.yaml"
CONFIG = """\
listeners: ["0.0.0.0:8008"]
children: 1
access_log: "off"
routes: [{name: all, location: /, respond: {status: 404}}]
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with synproxy installed and started."""
    with booted(tmp_path_factory.mktemp("systemd")) as machine:
        for unit in ("synproxy.service", "synproxy.socket"):
            machine.write(f"/etc/systemd/system/{unit}", (UNITS / unit).read_text())
        users = (UNITS / "synproxy.sysusers").read_text()
        machine.write("/usr/lib/sysusers.d/synproxy.conf", users)
        machine.output("systemd-sysusers")
        machine.output("systemctl", "daemon-reload")
        machine.write(FILE, CONFIG)
        done = machine.run("systemctl", "start", "synproxy.service")
        assert done.returncode == 0, done.stderr + journal(machine)
        yield machine


def status(machine: Machine) -> str:
    """The status of an answer, or 000."""
    curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:8008/"]
    return machine.run(*curl).stdout


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def journal(machine: Machine) -> str:
    return machine.output("journalctl", "--no-pager", "-o", "cat", "-u", "synproxy")


def test_it_is_as_confined_as_its_unit_says(service: Machine) -> None:
    main = service.show("synproxy", "MainPID")
    lines = service.output("cat", f"/proc/{main}/status").splitlines()
    facts = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert service.output("id", "-un", facts["Uid"].split()[0]).strip() == "synproxy"
    assert facts["CapEff"] == facts["CapBnd"] == "0000000000000000"
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
    group = service.output("getent", "group", "matrix-synapse").split(":")[2]
    assert group in facts["Groups"].split()
    inside = ["nsenter", "-t", main, "-m", "sh", "-c"]
    for path in ("/usr/x", "/etc/x", "/var/lib/x", "/proc/sys/kernel/hostname", "/sys/x"):
        refused = service.run(*inside, f"echo x > {path}")  # as root, but where synproxy is
        assert "Read-only file system" in refused.stderr or "nonexistent" in refused.stderr, path
    service.output(*inside, "echo x > /run/synproxy/x && echo x > /var/log/synproxy/x")
    assert "Permission denied" in service.run("runuser", "-u", "synproxy", "ls", "/root").stderr
    assert service.output(*inside, "ls -A /root /home") == "/home:\n\n/root:\n"
    assert "tty" not in service.output(*inside, "ls /dev/tty[0-9]* 2>/dev/null || true")


def test_it_reloads_and_says_so(service: Machine) -> None:
    assert status(service) == "404"
    first = service.show("synproxy", "StatusText")
    assert first == "listening on 0.0.0.0:8008; 1 routes, 0 pools, 1 child, generation 1"
    assert f"ready: {first}" in journal(service)
    service.write(FILE, CONFIG.replace("404", "410"))
    service.output("systemctl", "reload", "synproxy")
    assert status(service) == "410"
    service.write(FILE, "nonsense: true\n")
    assert service.run("systemctl", "reload", "synproxy").returncode != 0
    assert status(service) == "410"
    assert service.show("synproxy", "ActiveState") == "active"
    assert "generation 2; reload failed: " in service.show("synproxy", "StatusText")
    assert 'unknown key "nonsense"' in journal(service)
    service.write(FILE, CONFIG)
    service.output("systemctl", "reload", "synproxy")
    assert status(service) == "404"


def test_a_restart_refuses_nobody(service: Machine) -> None:
    """systemd keeps the sockets (FileDescriptorStoreMax=), without synproxy.socket."""
    assert service.show("synproxy", "NFileDescriptorStore") == "1"
    before = service.show("synproxy", "MainPID")
    script = (
        "systemctl restart synproxy & for i in $(seq 40); do "
        "curl -s -o /dev/null -w '%{http_code} ' http://127.0.0.1:8008/; sleep 0.05; done; wait"
    )
    assert service.output("sh", "-c", script).split() == ["404"] * 40
    assert service.show("synproxy", "ActiveState") == "active"
    assert service.show("synproxy", "MainPID") not in ("0", before)


def test_it_starts_with_its_socket_and_not_with_a_mistake(service: Machine) -> None:
    service.output("systemctl", "stop", "synproxy")
    service.write(FILE, "nonsense: true\n")
    assert service.run("systemctl", "start", "synproxy").returncode != 0
    service.run("systemctl", "stop", "synproxy")
    service.run("systemctl", "reset-failed", "synproxy")
    service.write(FILE, CONFIG)
    service.output("systemctl", "start", "synproxy.socket")
    assert service.show("synproxy", "ActiveState") == "inactive"
    assert status(service) == "404"
    assert service.show("synproxy", "ActiveState") == "active"


def test_the_watchdog_ends_a_supervisor_that_hangs(service: Machine) -> None:
    drop_in = "/run/systemd/system/synproxy.service.d/watchdog.conf"
    service.write(drop_in, "[Service]\nWatchdogSec=2\n")
    service.output("systemctl", "daemon-reload")
    service.output("systemctl", "restart", "synproxy")
    before = service.show("synproxy", "MainPID")
    service.output("kill", "-STOP", before)
    eventually(lambda: service.show("synproxy", "MainPID") not in ("0", before))
    eventually(lambda: status(service) == "404")
    assert service.show("synproxy", "NRestarts") == "1"
    assert "Watchdog timeout" in service.output("journalctl", "--no-pager", "-u", "synproxy")
