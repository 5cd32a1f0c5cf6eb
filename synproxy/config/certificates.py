"""Certificates on disk: read, tried out, and described.

A pair is proved by what it is for: a handshake with itself in memory, under the listener's own
settings. That also tells its names and its end, for which the standard library has no other public
way. Must not know which listener uses it.
"""

from __future__ import annotations

import os
import re
import ssl
from calendar import timegm
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_tz
from pathlib import Path
from typing import Any

from synproxy.config.model import AdminTls, Certificate, Tls, UpstreamTls

_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which ``ssl`` does not name: a certificate that is not valid
yet, or no more, is a warning and not an error, as with nginx."""

Pems = Mapping[str, str]
"""What PEM files held when they were read, by path. Private keys are among them: for no log."""

_PEM_LIMIT = 1 << 20  # bytes
_CODE = re.compile(r" \(_ssl\.c:[0-9]+\)$|^\[[^]]*\] ")


class CertificateError(Exception):
    """A file that cannot be used. ``field``: of the settings, ``certificate`` for example."""

    def __init__(self, field: str, file: str, reason: str) -> None:
        self.field = field
        self.file = file
        self.reason = reason
        super().__init__(f"{file}: {reason}")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key that has been tried out."""

    files: Certificate
    names: frozenset[str]
    """The DNS names of its subjectAltName, in lower case; ``*.example.org`` among them."""
    not_after: int
    """When it ends, a unix time in seconds."""


def server_context(tls: Tls) -> ssl.SSLContext:
    """The settings of a listener, without a certificate.

    :raises CertificateError: for ``ciphers``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if not tls.session_tickets:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    try:
        context.set_ciphers(tls.ciphers)
    except ssl.SSLError:
        raise CertificateError(
            "ciphers", tls.ciphers, "expected names of ciphers that OpenSSL knows"
        ) from None
    return context


def admin_context(tls: AdminTls) -> ssl.SSLContext:
    """Of the admin listener, with its certificate; clients must show one, too.

    :raises CertificateError: for a file.
    """
    files = Certificate(certificate=tls.certificate, key=tls.key)
    context = server_context(Tls(certificates=(files,)))
    load_pair(context, files, read_pems([files]))
    context.verify_mode = ssl.CERT_REQUIRED
    _trust(context, "client_ca", tls.client_ca)
    return context


def client_context(tls: UpstreamTls) -> ssl.SSLContext:
    """How a pool's servers are spoken to.

    :raises CertificateError: for ``ca``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif tls.ca is not None:
        _trust(context, "ca", tls.ca)
    else:
        context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context


def read_pems(certificates: Iterable[Certificate]) -> dict[str, str]:
    """The files of certificates, and of their keys.

    :raises CertificateError: one cannot be read.
    """
    pems = {}
    for files in certificates:
        pems[files.certificate] = _read("certificate", files.certificate)
        pems[files.key] = _read("key", files.key)
    return pems


def load_pair(context: ssl.SSLContext, files: Certificate, pems: Pems) -> Pair:
    """Put a certificate and its key into a context that has none, and try them out. ``pems`` holds
    both.

    :raises CertificateError: the file that is to blame.
    """
    add_pair(context, files, pems)
    try:
        told = _try_out(context, pems[files.certificate])
    except ssl.SSLError as error:
        reason = f"no client would take it: {openssl_reason(error)}"
        raise CertificateError("certificate", files.certificate, reason) from None
    names = frozenset(
        value.lower() for kind, value in told.get("subjectAltName", ()) if kind == "DNS"
    )
    ends = parsedate_tz(told["notAfter"])
    assert ends is not None  # OpenSSL's own spelling
    return Pair(files, names, timegm((*ends[:6], 0, 0, 0)))


def add_pair(context: ssl.SSLContext, files: Certificate, pems: Pems) -> None:
    """Put a certificate and its key into a context, beside one of another kind: RSA and ECDSA.

    :raises CertificateError: the file that is to blame.
    """
    chain, key = pems[files.certificate], pems[files.key]
    if "-----BEGIN CERTIFICATE-----" not in chain:
        raise CertificateError("certificate", files.certificate, "no certificate in PEM is in it")
    if "PRIVATE KEY-----" not in key:
        raise CertificateError("key", files.key, "no private key in PEM is in it")
    try:
        with _in_memory(chain) as chain_path, _in_memory(key) as key_path:
            context.load_cert_chain(chain_path, key_path, _no_passphrase)
    except _PassphraseError:
        raise CertificateError("key", files.key, "it is protected by a passphrase") from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH" or error.reason == "KEY_TYPE_MISMATCH":
            reason = f"the key does not fit the certificate {files.certificate}"
            raise CertificateError("key", files.key, reason) from None
        field = "certificate" if _is_chain(chain) is False else "key"
        reason = f"it cannot be used: {openssl_reason(error)}"
        raise CertificateError(field, getattr(files, field), reason) from None


def openssl_reason(error: ssl.SSLError) -> str:
    """What OpenSSL says, without its codes and places."""
    text = _CODE.sub("", _CODE.sub("", str(error.args[-1] if error.args else error)))
    return text.strip() or type(error).__name__


class _PassphraseError(Exception):
    pass


def _no_passphrase() -> str:
    raise _PassphraseError


def _read(field: str, file: str) -> str:
    try:
        with Path(file).open("rb") as stream:
            return stream.read(_PEM_LIMIT).decode("latin-1")
    except OSError as error:
        raise CertificateError(field, file, f"it cannot be read: {error.strerror}") from None


@contextmanager
def _in_memory(pem: str) -> Iterator[str]:
    """A path for OpenSSL: ``ssl`` takes keys from files only, and this one is on no disk."""
    with os.fdopen(os.memfd_create("pem"), "wb") as file:
        file.write(pem.encode("latin-1"))
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def _is_chain(chain: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=_certificates(chain))
    except ssl.SSLError:
        return False
    return True


def _trust(context: ssl.SSLContext, field: str, file: str) -> None:
    _read(field, file)
    try:
        context.load_verify_locations(file)
    except ssl.SSLError as error:
        raise CertificateError(
            field, file, f"no certificates in PEM: {openssl_reason(error)}"
        ) from None


def _certificates(chain: str) -> str:
    """The certificates in a PEM file that may have a key and text in it as well."""
    found = re.findall(
        r"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----", chain, re.DOTALL
    )
    return "\n".join(found) + "\n"


def _try_out(context: ssl.SSLContext, chain: str) -> Mapping[str, Any]:
    """A handshake in memory with a client that trusts this chain; what it learns of the leaf."""
    client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_side.check_hostname = False
    client_side.load_verify_locations(cadata=_certificates(chain))
    client_side.verify_flags = ssl.VerifyFlags(_NO_CHECK_TIME | ssl.VERIFY_X509_PARTIAL_CHAIN)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(to_client, to_server, server_side=False)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return client.getpeercert() or {}
