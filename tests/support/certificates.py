"""Certificates for tests, made by openssl; each is its own authority."""

from __future__ import annotations

import subprocess
from pathlib import Path


def make_certificate(directory: Path, name: str, *names: str, days: int = 90) -> tuple[Path, Path]:
    """A certificate and its key, ``NAME.pem`` and ``NAME.key``, for DNS names."""
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", str(days), "-subj", f"/CN={name}"),
            *("-addext", "subjectAltName=" + ",".join(f"DNS:{one}" for one in names)),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key
