"""`synproxy import-nginx` writes a file that `check` takes, and its exit status says the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from synproxy.cli.main import main

NGINX = "events {{ }}\nhttp {{ server {{ {} location / {{ proxy_pass http://h:1; }} }} }}\n"


def imported(directory: Path, server: str) -> tuple[int, Path]:
    (directory / "nginx.conf").write_text(NGINX.format(server))
    output = directory / "synproxy.yaml"
    return main(["import-nginx", str(directory / "nginx.conf"), "-o", str(output)]), output


def test_everything_is_carried_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, output = imported(tmp_path, "listen 8008;")
    assert (status, capsys.readouterr().err) == (0, "")
    assert main(["check", "-c", str(output)]) == 0


def test_what_is_lost_has_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, output = imported(tmp_path, "listen 8008; mirror /m;")
    assert status == 3
    assert f"{tmp_path}/nginx.conf:2:30: not carried over: mirror /m;" in capsys.readouterr().err
    assert "nginx.conf:2: mirror /m;" in output.read_text()
    assert main(["check", "-c", str(output)]) == 0


def test_a_mistake_in_nginx_s_file_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, output = imported(tmp_path, "listen 8008")
    assert status == 1
    assert not output.exists()
    assert f"{tmp_path}/nginx.conf:2:" in capsys.readouterr().err
