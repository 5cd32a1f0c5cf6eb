"""Asks the vulnerability database (pip-audit: PyPI's) about what an installation has.

``make audit``. Exit status 1: something with a known hole is locked. Where the database cannot be
reached nothing is checked, which is said loudly; with AUDIT_REQUIRED=1 that is an error too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

BIN = Path(sys.executable).parent


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        locked = Path(directory) / "requirements.txt"
        export = [BIN / "uv", "export", "--quiet", "--frozen", "--no-dev", "--all-extras"]
        subprocess.run(  # noqa: S603 (our own tools)
            [*export, "--no-emit-project", "-o", locked],
            check=True,
        )
        asked = [BIN / "pip-audit", "--requirement", locked, "--disable-pip", "--require-hashes"]
        result = subprocess.run(  # noqa: S603
            [*asked, "--format", "json", "--progress-spinner", "off", "--timeout", "10"],
            capture_output=True,
            text=True,
        )
    try:
        found = json.loads(result.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return not_audited(result.stderr)
    holes = [
        f"{one['name']} {one['version']}: {hole['id']}, fixed in {hole['fix_versions']}"
        for one in found
        for hole in one.get("vulns", [])
    ]
    skipped = [one["name"] for one in found if "skip_reason" in one]
    known = len(found) - len(skipped)
    if known:
        print("\n".join(holes) or f"{known} dependencies without a known hole")
    if holes:
        return 1
    return not_audited(f"it does not know {', '.join(skipped)}") if skipped else 0


def not_audited(reason: str) -> int:
    lines = reason.strip().splitlines() or ["it said nothing"]
    rule = "*" * 78
    print(rule, "NOT AUDITED by the vulnerability database:", lines[-1][:500], rule, sep="\n")
    return 1 if os.environ.get("AUDIT_REQUIRED") == "1" else 0


sys.exit(main())
