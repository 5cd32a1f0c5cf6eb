"""What synproxy runs on, and which synproxy runs."""

from __future__ import annotations

import pytest

from synproxy import __version__
from synproxy.cli.doctor import software
from synproxy.cli.doctor.asking import Reply


def test_what_is_installed_here_is_good() -> None:
    found = list(software.check_software())
    assert [(each.check, each.subject, each.status) for each in found] == [
        ("python", "", "ok"),
        ("library", "uvloop", "ok"),
        ("library", "httptools", "ok"),
    ]


def test_an_old_python_is_no_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "OLDEST_PYTHON", (99, 0))
    assert next(software.check_software()).status == "fail"


def test_a_missing_library_is_named_with_its_remedy() -> None:
    found = software.library("no_such_library", "install it")
    assert (found.status, found.subject, found.remedy) == ("fail", "no_such_library", "install it")


@pytest.mark.parametrize(
    ("server", "status", "verdict", "reason"),
    [
        (f"synproxy/{__version__}", 200, "ok", "answers 200"),
        ("synproxy", 404, "ok", "answers 404"),
        ("synproxy/0.0.9", 200, "warn", f"synproxy 0.0.9 runs, {__version__} is installed"),
        ("synproxy", 502, "fail", "502 to GET /_matrix/client/versions"),
        ("nginx/1.22.1", 200, "warn", "answered by nginx/1.22.1, not by synproxy"),
        ("", 200, "warn", "answered by a server without a name"),
    ],
)
def test_who_answers_is_told_by_its_name(
    server: str, status: int, verdict: str, reason: str
) -> None:
    found = software.check_running("http://a", Reply(status, {"Server": server}, b""), "")
    assert (found.check, found.subject, found.status) == ("proxy", "http://a", verdict)
    assert reason in found.reason
    assert bool(found.remedy) is (verdict != "ok")


def test_nobody_answers_and_why() -> None:
    found = software.check_running("http://a", None, "Connection refused")
    assert (found.status, "(Connection refused)" in found.reason) == ("skip", True)
