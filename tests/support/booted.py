"""A booted systemd: PID 1 of namespaces of its own, over a copy of this system that is thrown away.

The system's files are the lower layer of an overlay in memory; network, processes, cgroups and
mounts are the machine's own. Needs root. Must not know what is started in it.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.paths import ROOT

BOOT_DEADLINE = 60.0  # seconds
PYTHON = "/opt/python"
PACKAGES = "/opt/packages"
SOURCE = "/opt/synproxy"

_NAMESPACES = ("-m", "-p", "-u", "-i", "-n", "-C")
_BOOT = """\
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
root="$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
for name in null zero full random urandom tty; do
  touch "$root/dev/$name"
  mount --bind "/dev/$name" "$root/dev/$name"
done
for pair in "$2:/opt/python" "$3:/opt/packages" "$4:/opt/synproxy"; do
  mkdir -p "$root${pair#*:}"
  mount --rbind "${pair%%:*}" "$root${pair#*:}"
done
rm -rf "$root"/etc/systemd/system/*.wants "$root/etc/machine-id"
echo 0123456789abcdef0123456789abcdef > "$root/etc/machine-id"
mkdir "$root/old"
cd "$root"
pivot_root . old
umount -l old
exec /usr/bin/env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd \\
  --system --unit=basic.target
"""


class Machine:
    """The booted system; ``pid`` is that of its PID 1 as seen from here."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def run(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A command in it, as root."""
        enter = ["nsenter", "-t", str(self.pid), *_NAMESPACES, "-r", "-w"]
        return subprocess.run(
            [*enter, *command], input=stdin, capture_output=True, text=True, timeout=60, check=False
        )

    def output(self, *command: str) -> str:
        """What a command says that has to succeed."""
        done = self.run(*command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def write(self, path: str, text: str, mode: str = "644") -> None:
        """A file in it, with its directories."""
        script = 'mkdir -p "$(dirname "$1")" && cat > "$1" && chmod "$2" "$1"'
        done = self.run("sh", "-c", script, "sh", path, mode, stdin=text)
        assert done.returncode == 0, done.stderr

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.output("systemctl", "show", "--value", "-p", name, unit).strip()


@contextmanager
def booted(directory: Path) -> Iterator[Machine]:
    """A machine that has reached basic.target; ``synproxy`` is on its path."""
    scratch = directory / "machine"
    scratch.mkdir()
    packages = sysconfig.get_path("purelib")
    command = ["unshare", *_NAMESPACES, "--fork", "--kill-child", "sh", "-c", _BOOT, "sh"]
    log = directory / "boot.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, str(scratch), sys.base_prefix, packages, str(ROOT)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        machine = _wait(process, log)
        machine.write(
            "/usr/local/bin/synproxy",
            f"#!/bin/sh\nexport LD_LIBRARY_PATH={PYTHON}/lib PYTHONPATH={SOURCE}:{PACKAGES}\n"
            f'exec {PYTHON}/bin/python3 -P -m synproxy "$@"\n',
            "755",
        )
        yield machine
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], log: Path) -> Machine:
    deadline = time.monotonic() + BOOT_DEADLINE
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while time.monotonic() < deadline and process.poll() is None:
        for child in children.read_text().split():
            machine = Machine(int(child))
            if machine.run("systemctl", "is-active", "basic.target").returncode == 0:
                return machine
        time.sleep(0.05)
    raise RuntimeError(f"systemd has not booted: {log.read_text()}")
