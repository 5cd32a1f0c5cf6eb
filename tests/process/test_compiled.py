"""The optional build, in which mypyc has compiled the hot path (docs/adr/0016)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT, SHARED

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
MODULES = SETTINGS["targets"]["wheel"]["hooks"]["mypyc"]["include"]
SUITE = ["protocol", "integration", "unit/core", "unit/wire", "unit/proxy", "unit/upstream"]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What it printed; the test fails with that if it failed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(900)
def test_the_compiled_build_behaves_as_the_plain_one(tmp_path: Path) -> None:
    """A wheel is built in a copy of the project, takes the place of the package there, and the
    tests of the data path are run against it."""
    copy = tmp_path / "project"
    unwanted = shutil.ignore_patterns(".*", "__pycache__", "*.so", "build", "dist", "results")
    shutil.copytree(ROOT, copy, ignore=unwanted)
    shutil.copy(ROOT / ".gitignore", copy)
    (tmp_path / "shared").symlink_to(SHARED)
    build = f"{sys.executable} -m uv build --quiet --wheel --out-dir".split()
    run(*build, tmp_path, cwd=copy, HATCH_BUILD_HOOK_ENABLE_MYPYC="1")
    shutil.rmtree(copy / "synproxy")
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(copy)
    # Nobody falls back to the source unseen.
    for module in MODULES:
        (copy / module).unlink()
        assert list(copy.glob(module.removesuffix(".py") + ".*.so")), f"{module} is not compiled"
    tests = [f"tests/{part}" for part in SUITE]
    options = ["-q", "-p", "no:cacheprovider", "-m", "not interpreted"]
    printed = run(sys.executable, "-m", "pytest", *options, *tests, cwd=copy)
    assert " passed" in printed.splitlines()[-1]
