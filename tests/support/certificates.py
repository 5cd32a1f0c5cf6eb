"""Certificates for tests, made by openssl; each is its own authority."""

from __future__ import annotations

import subprocess
from pathlib import Path

_KINDS = {
    "ec": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "rsa": ("-newkey", "rsa:2048"),
}


def make_certificate(
    directory: Path, name: str, *names: str, days: int = 90, kind: str = "ec"
) -> tuple[Path, Path]:
    """A certificate and its key, ``NAME.pem`` and ``NAME.key``; ``kind``: ec or rsa."""
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", *_KINDS[kind]),
            *("-nodes", "-days", str(days), "-subj", f"/CN={name}"),
            *("-addext", "subjectAltName=" + ",".join(f"DNS:{one}" for one in names)),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key
