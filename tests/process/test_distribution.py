"""What is given out: a wheel and an sdist, built twice, installed where nothing else is."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from hashlib import sha256
from pathlib import Path

import pytest

from synproxy import __version__

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")


def uv(*arguments: object) -> str:
    result = subprocess.run(
        [str(UV), *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two directories with a wheel and an sdist each; the wheels are made from the sdists."""
    directories = [tmp_path_factory.mktemp("dist") for _ in range(2)]
    for directory in directories:
        uv("build", "--quiet", "--out-dir", directory)
    return directories


def _sdist(directory: Path) -> Path:
    return directory / f"synproxy-{__version__}.tar.gz"


def _wheel(directory: Path) -> Path:
    return directory / f"synproxy-{__version__}-py3-none-any.whl"


def test_the_lock_file_is_what_the_project_asks_for() -> None:
    uv("lock", "--check")


def test_two_builds_are_the_same_bytes(built: list[Path]) -> None:
    for name in (_sdist, _wheel):
        first, second = (sha256(name(directory).read_bytes()).hexdigest() for directory in built)
        assert first == second, name


def test_the_wheel_holds_the_package_and_nothing_else(built: list[Path]) -> None:
    with zipfile.ZipFile(_wheel(built[0])) as wheel:
        names = set(wheel.namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "synproxy").rglob("*.py")}
    assert modules <= names
    assert "synproxy/synapse/data/endpoints.yaml" in names
    assert "synproxy/config/examples/synapse-workers.yaml" in names
    others = {name for name in names if not name.startswith("synproxy/")}
    assert all(name.startswith(f"synproxy-{__version__}.dist-info/") for name in others), others
    assert not any(name.endswith((".pyc", ".so")) for name in names)


def test_the_sdist_holds_what_it_takes_to_build_test_and_install(built: list[Path]) -> None:
    with tarfile.open(_sdist(built[0])) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    wanted = [
        *("pyproject.toml", "uv.lock", "Makefile", "README.md", "CHANGELOG.md", "LICENSE"),
        *("SECURITY.md", "THREAT_MODEL.md", "ARCHITECTURE.md", "config/synapse-workers.yaml"),
        *("tests/hostile/data/requests.jsonl.xz", "docs/nginx-differences.md"),
    ]
    assert set(wanted) <= names
    assert any(name.startswith("systemd/") for name in names)
    assert not any("__pycache__" in name or name.startswith((".venv", "build")) for name in names)


def test_the_metadata_says_what_it_is_and_for_whom(built: list[Path]) -> None:
    with zipfile.ZipFile(_wheel(built[0])) as wheel:
        folder = f"synproxy-{__version__}.dist-info"
        metadata = Parser().parsestr(wheel.read(f"{folder}/METADATA").decode())
        assert f"{folder}/licenses/LICENSE" in wheel.namelist()
    assert metadata["Name"] == "synproxy"
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    classifiers = metadata.get_all("Classifier") or []
    assert "Framework :: AsyncIO" in classifiers
    assert "Typing :: Typed" in classifiers


def test_an_installed_wheel_runs_and_takes_the_shipped_configurations(
    built: list[Path], tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    uv("venv", "--quiet", "--python", sys.executable, venv)
    uv("pip", "install", "--quiet", "--python", venv, _wheel(built[0]))
    program = venv / "bin" / "synproxy"

    def run(*arguments: object) -> str:
        result = subprocess.run(
            [program, *map(str, arguments)], cwd=tmp_path, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    assert run("--version").split()[-1] == __version__
    examples = list(venv.glob("lib/*/site-packages/synproxy/config/examples/*.yaml"))
    assert {path.name for path in examples} >= {"synapse-workers.yaml", "seed-parity.yaml"}
    for example in examples:
        run("check", "--config", example)
