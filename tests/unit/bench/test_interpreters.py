"""Which Python runs synproxy in a comparison."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from bench.lib import interpreters


@pytest.mark.parametrize(
    ("named", "distribution", "expected"),
    [
        ("/opt/python", "bin", "/opt/python"),
        ("", "bin", "bin"),
        ("", "missing", interpreters.OURS),
    ],
)
def test_the_distributions_runs_it_unless_another_is_named_or_there_is_none(
    named: str,
    distribution: str,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "bin").touch()
    monkeypatch.setenv("SYNPROXY_PYTHON", named)
    monkeypatch.setattr(interpreters, "_DISTRIBUTION", tmp_path / distribution)
    assert interpreters.chosen() == (str(tmp_path / "bin") if expected == "bin" else expected)


def test_it_is_described_by_whose_it_is_and_how_it_was_built() -> None:
    described = interpreters.describe(interpreters.OURS)
    assert f"CPython {platform.python_version()}" in described
    assert "libpython" in described
