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
    """A certificate and its key, ``NAME.pem`` and ``NAME.key``, for DNS names and addresses.

    ``kind``: ec or rsa. ``days``: how long it is good; -1: it has ended.
    """
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", *_KINDS[kind]),
            *("-nodes", "-days", str(max(days, 1)), "-subj", f"/CN={name}"),
            *("-addext", "subjectAltName=" + ",".join(map(_alternative, names))),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    if days < 0:
        again = ["openssl", "x509", "-in", str(certificate), "-signkey", str(key)]
        again += ["-days", str(days), "-out", str(certificate)]
        subprocess.run(again, check=True, capture_output=True)
    return certificate, key


def _alternative(name: str) -> str:
    kind = "IP" if name.replace(".", "").isdecimal() or ":" in name else "DNS"
    return f"{kind}:{name}"
