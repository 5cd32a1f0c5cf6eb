"""Which certificate a client is shown."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from synproxy.config.certificates import read_pems
from synproxy.config.model import Certificate, Listener, Tls
from synproxy.runtime.tls import Certificates
from tests.support.certificates import make_certificate


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    make_certificate(directory, "rsa", "a.example", kind="rsa")
    make_certificate(directory, "ecdsa", "A.example")
    make_certificate(directory, "other", "b.example", "*.b.example")
    return directory


def certificates(directory: Path, *names: str) -> Certificates:
    files = tuple(
        Certificate(certificate=f"{directory}/{name}.pem", key=f"{directory}/{name}.key")
        for name in names
    )
    listener = Listener(listen="127.0.0.1:443", tls=Tls(certificates=files))
    return Certificates(listener, read_pems(files))


def shown(server_context: ssl.SSLContext, ciphers: str) -> bytes | None:
    """The certificate in a TLS 1.2 handshake with a client that has these ciphers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(down, up, server_side=False)
    server = server_context.wrap_bio(up, down, server_side=True)
    for side in (client, server, client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return client.getpeercert(binary_form=True)


def on_disk(directory: Path, name: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert((directory / f"{name}.pem").read_text())


@pytest.mark.parametrize("order", [("rsa", "ecdsa"), ("ecdsa", "rsa")])
@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_of_two_with_the_same_names_a_client_gets_the_one_it_can_use(
    directory: Path, order: tuple[str, str], kind: str
) -> None:
    context = certificates(directory, *order, "other").context_for("a.example")
    assert shown(context, f"ECDHE+a{kind.upper()}") == on_disk(directory, kind)


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ("a.example", "ecdsa"),
        ("A.EXAMPLE", "ecdsa"),
        ("b.example", "other"),
        ("x.b.example", "other"),
        ("x.y.b.example", "ecdsa"),
        ("elsewhere.example", "ecdsa"),
        ("", "ecdsa"),
        (None, "ecdsa"),
    ],
)
def test_the_name_chooses_and_the_first_is_for_all_others(
    directory: Path, asked: str | None, kind: str
) -> None:
    context = certificates(directory, "ecdsa", "other").context_for(asked)
    assert shown(context, "ECDHE+aECDSA") == on_disk(directory, kind)
