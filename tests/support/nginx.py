"""The real nginx as a child process: the oracle of the differential tests.

A missing nginx is an error, never a skip: without it these tests say nothing.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.process import ProxyProcess

SCRATCH = "".join(
    f"{name}_temp_path @RUN@/{name}; "
    for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)
"""Where nginx may write, for the ``http`` block: its own places need not exist."""


def find_nginx() -> str:
    """The nginx binary; raises RuntimeError if there is none."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise RuntimeError("nginx is missing: install it (Debian: apt-get install nginx-light)")
    return found


def nginx_version() -> str:
    """As ``1.22.1``."""
    answer = subprocess.run([find_nginx(), "-v"], capture_output=True, check=True, text=True)
    return answer.stderr.strip().rpartition("/")[2].split()[0]


class Nginx(ProxyProcess):
    """nginx over a configuration of several files, relative to its own directory.

    In each file ``@NAME@`` is replaced; ``@RUN@`` (the directory) and ``@PORT@`` are always there.
    The main file is ``nginx.conf`` and must say ``daemon off``.
    """

    name = "nginx"

    def __init__(
        self, directory: Path, files: Mapping[str, str], values: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(directory)
        known = {"RUN": str(directory), "PORT": str(self.port), **(values or {})}
        for name, text in files.items():
            for key, value in known.items():
                text = text.replace(f"@{key}@", value.replace("@PORT@", known["PORT"]))
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def command(self) -> Sequence[str]:
        return [
            find_nginx(),
            *("-p", str(self.directory)),
            *("-c", str(self.directory / "nginx.conf")),
            *("-e", str(self.directory / "error.log")),
        ]


def read_tree(directory: Path) -> dict[str, str]:
    """The files below a directory, by their relative names."""
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in sorted(directory.rglob("*.conf"))
    }
