"""The Debian package: what is in it, and that the program in it runs by the system's Python.

`packaging/deb/try` installs it in a fresh Debian, which takes a mirror and minutes; `make
deb-upgrade` goes from it to a compiled one.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from synproxy import __version__
from tests.process import deb_upgrade

ROOT = Path(__file__).parents[2]
PYTHON = "usr/lib/synproxy/bin/python"
FILES = {
    "./etc/logrotate.d/synproxy",
    "./etc/synproxy/",
    "./usr/bin/synproxy",
    "./usr/lib/synproxy/bin/synproxy",
    "./usr/lib/systemd/system/synproxy.service",
    "./usr/lib/systemd/system/synproxy.socket",
    "./usr/lib/sysusers.d/synproxy.conf",
    "./usr/lib/tmpfiles.d/synproxy.conf",
    "./usr/share/bash-completion/completions/synproxy",
    "./usr/share/doc/synproxy/copyright",
    "./usr/share/doc/synproxy/examples/synapse-workers.yaml",
    "./usr/share/fish/vendor_completions.d/synproxy.fish",
    "./usr/share/man/man5/synproxy.yaml.5.gz",
    "./usr/share/man/man8/synproxy.8.gz",
    "./usr/share/synproxy/synproxy.schema.json",
    "./usr/share/zsh/vendor-completions/_synproxy",
}


def run(*command: str | Path) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "ZIP": "none"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package() -> Iterator[Path]:
    run("make", "--silent", "deb")
    (made,) = (ROOT / "dist").glob(f"synproxy_{__version__}_*.deb")
    yield made
    made.unlink()


def test_the_package_has_its_files_and_they_are_root_s(package: Path) -> None:
    listed = [line.split(maxsplit=5) for line in run("dpkg-deb", "-c", package).splitlines()]
    names = {entry[5].split(" -> ")[0] for entry in listed}
    assert names >= FILES
    assert {entry[1] for entry in listed} == {"root/root"}
    assert [e[5] for e in listed if e[0][0] != "l" and e[0][8] == "w"] == []
    assert not [name for name in names if "/tests/" in name or "/work/" in name]


def test_its_files_are_copies_that_no_cache_and_no_other_environment_shares(package: Path) -> None:
    tree = ROOT / "build" / "deb" / "synproxy"
    assert [path for path in tree.rglob("*") if path.lstat().st_nlink > 1 and path.is_file()] == []


def test_its_configuration_files_are_the_administrator_s_to_change(package: Path) -> None:
    assert run("dpkg-deb", "-I", package, "conffiles") == "/etc/logrotate.d/synproxy\n"


def test_it_depends_on_the_python_that_its_parts_were_made_for(package: Path) -> None:
    minor = int(run("/usr/bin/python3", "-c", "import sys; print(sys.version_info.minor)"))
    depends = run("dpkg-deb", "-f", package, "Depends")
    assert f"python3 (>= 3.{minor}), python3 (<< 3.{minor + 1})" in depends
    assert "libc6 (>= " in depends


@pytest.mark.parametrize("script", ["postinst", "prerm", "postrm"])
def test_its_scripts_are_shell(script: str, package: Path, tmp_path: Path) -> None:
    (tmp_path / script).write_text(run("dpkg-deb", "-I", package, script))
    run("sh", "-n", tmp_path / script)


def test_the_program_in_it_runs_with_its_own_packages(package: Path, tmp_path: Path) -> None:
    run("dpkg-deb", "-x", package, tmp_path)
    python = tmp_path / PYTHON
    assert run(python, "-Im", "synproxy", "--version") == f"synproxy {__version__}\n"
    example = tmp_path / "usr/share/doc/synproxy/examples/synapse-workers.yaml"
    assert "successful" in run(python, "-Im", "synproxy", "check", "--config", example)
    where = run(python, "-Ic", "import aiohttp, synproxy, sys; print(aiohttp.__file__, sys.prefix)")
    assert where.count(str(tmp_path)) == 2
    assert os.readlink(tmp_path / "usr/bin/synproxy") == "../lib/synproxy/bin/synproxy"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make namespaces")
def test_an_upgrade_keeps_the_configuration_and_fails_no_request(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deb_upgrade.main(package, package, faster=False)
    assert "what was not 200" in capsys.readouterr().out
