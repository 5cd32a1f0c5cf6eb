"""synproxy as a child process, as an administrator starts it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.process import ProxyProcess

ROOT = Path(__file__).resolve().parents[2]


class Synproxy(ProxyProcess):
    """synproxy over one configuration text; ``loop`` is uvloop or asyncio.

    Each key of ``values`` is replaced by its value; ``@PORT@`` and ``@RUN@`` always are.
    """

    name = "synproxy"

    def __init__(
        self,
        directory: Path,
        configuration: str,
        values: Mapping[str, str] | None = None,
        loop: str = "uvloop",
    ) -> None:
        super().__init__(directory)
        self.loop = loop
        known = {**(values or {}), "@PORT@": str(self.port), "@RUN@": str(directory)}
        for old, new in known.items():
            configuration = configuration.replace(old, new)
        if "\nchildren:" not in configuration:
            configuration += "children: 1\n"  # what most tests observe is in one process
        self.file = directory / "synproxy.yaml"
        self.file.write_text(configuration)

    def command(self) -> Sequence[str]:
        return [
            *(sys.executable, "-m", "synproxy.cli.main", "run"),
            *("--config", str(self.file), "--loop", self.loop),
        ]
