"""The supervisor's certificates: what changed on disk, what cannot be used, what ends soon."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from synproxy.config.loader import loads
from synproxy.config.model import Config
from synproxy.errors import ConfigError
from synproxy.runtime.credentials import Credentials, Looks
from tests.support.certificates import make_certificate

DAY = 86_400


@pytest.fixture
def config(tmp_path: Path) -> Config:
    make_certificate(tmp_path, "first", "a.example")
    make_certificate(tmp_path, "second", "b.example", days=10)
    return loads(
        f"""\
listeners:
  - listen: "127.0.0.1:8443"
    tls:
      certificates:
        - {{certificate: {tmp_path}/first.pem, key: {tmp_path}/first.key}}
        - {{certificate: {tmp_path}/second.pem, key: {tmp_path}/second.key}}
routes: [{{name: all, location: /, respond: {{status: 404}}}}]
""",
        "test.yaml",
    )


@pytest.fixture
def looks(config: Config) -> Looks:
    looks = Looks()
    looks.use(Credentials(config))
    return looks


def test_files_that_have_not_changed_are_not_read_again(config: Config, looks: Looks) -> None:
    assert looks.renewed(config) is None


def test_a_new_pair_is_what_its_files_hold_and_is_told(
    config: Config, looks: Looks, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    make_certificate(tmp_path, "first", "a.example", days=30)
    renewed = looks.renewed(config)
    assert renewed is not None
    assert renewed.pems[f"{tmp_path}/first.key"] == (tmp_path / "first.key").read_text()
    assert "new certificates for 127.0.0.1:8443: a.example: ends in 30 days; b.example" in (
        caplog.text
    )
    assert looks.renewed(config) is None


def test_a_link_that_is_moved_is_a_change_as_certbot_makes_it(
    config: Config, looks: Looks, tmp_path: Path
) -> None:
    for kind in ("pem", "key"):
        make_certificate(tmp_path, "next", "a.example")
        (tmp_path / f"first.{kind}").unlink()
    for kind in ("pem", "key"):
        (tmp_path / f"first.{kind}").symlink_to(tmp_path / f"next.{kind}")
    assert looks.renewed(config) is not None


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("first.key", None, "it cannot be read: No such file or directory"),
        ("first.key", "second.key", "the key does not fit"),
        ("first.pem", "second.key", "no certificate in PEM is in it"),
    ],
)
def test_a_broken_pair_leaves_the_old_one_and_is_told_once(
    config: Config,
    looks: Looks,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    file: str,
    content: str | None,
    reason: str,
) -> None:
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text((tmp_path / content).read_text())
    assert looks.renewed(config) is None
    assert looks.renewed(config) is None
    assert caplog.text.count("the old certificates stay: ") == 1
    assert reason in caplog.text
    assert "PRIVATE KEY" not in caplog.text


def test_a_pair_that_is_repaired_is_taken(config: Config, looks: Looks, tmp_path: Path) -> None:
    key = (tmp_path / "first.key").read_text()
    (tmp_path / "first.key").write_text("")
    assert looks.renewed(config) is None
    (tmp_path / "first.key").write_text(key)
    assert looks.renewed(config) is not None


def test_certificates_that_end_soon_are_told_once_a_day(
    config: Config, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    looks, now = Looks(), time.time()
    looks.use(Credentials(config))
    looks.warn(now + 60)
    assert caplog.text.count("second.pem: ends in 10 days") == 1
    assert "first.pem" not in caplog.text
    looks.warn(now + 12 * DAY)
    assert "second.pem: has ended 2 days ago" in caplog.text
    looks.warn(now + 77 * DAY)
    assert "first.pem: ends in 13 days" in caplog.text


def test_keys_are_in_no_representation(config: Config) -> None:
    from synproxy.runtime.offspring import Order

    credentials = Credentials(config)
    order = Order({}, credentials.pems, "uvloop", {}, None, pin=False)
    assert any("PRIVATE KEY" in pem for pem in order.pems.values())
    assert "PRIVATE KEY" not in repr(order) + repr(credentials) + repr(credentials.pairs)


def test_a_missing_key_is_an_error_with_its_file(config: Config, tmp_path: Path) -> None:
    (tmp_path / "second.key").unlink()
    with pytest.raises(ConfigError, match=r"second\.key: key: it cannot be read"):
        Credentials(config)
