"""Which interpreter runs synproxy: how it was built changes its speed by 10 % and more.

The other proxies are the distribution's builds, and the Debian package of synproxy runs on the
distribution's Python. So that one is measured, if it is of the minor version of ours and can load
the libraries that are installed for ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

OURS = sys.executable
"""The one that runs the benchmark."""
_DISTRIBUTION = Path(f"/usr/bin/python3.{sys.version_info.minor}")
_DESCRIBE = """\
import platform
linked = "libpython" in open("/proc/self/maps").read()
print(platform.python_implementation(), platform.python_version(), platform.python_compiler(),
      "libpython", "shared" if linked else "built in")
"""


def chosen() -> str:
    """That of ``SYNPROXY_PYTHON``, or the distribution's, or else ours."""
    if named := os.environ.get("SYNPROXY_PYTHON"):
        return named
    return str(_DISTRIBUTION) if _DISTRIBUTION.exists() else OURS


def describe(interpreter: str) -> str:
    """Whose it is, its version, and how it was built."""
    done = subprocess.run(
        [interpreter, "-c", _DESCRIBE], capture_output=True, text=True, check=True
    )
    return f"{_whose(interpreter)}, {done.stdout.strip()}"


def _whose(interpreter: str) -> str:
    at = Path(interpreter).resolve()
    if at == _DISTRIBUTION.resolve():
        return "the distribution's"
    return "the benchmark's own" if at == Path(OURS).resolve() else "by SYNPROXY_PYTHON"
