"""What `synproxy import-nginx` makes of a configuration, as a proxy to talk to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from synproxy.nginx.importer import import_nginx
from synproxy.nginx.tree import read
from tests.support.synproxy import Synproxy


def imported_synproxy(
    directory: Path, nginx_conf: Path, server: str | None = None, root: Path | None = None
) -> Synproxy:
    """The imported configuration on other listeners and with a JSON log, else as it is."""
    tree: dict[str, Any] = yaml.safe_load(import_nginx(read(nginx_conf, root), server).text)
    tree["listeners"] = [{"listen": "127.0.0.1:@PORT@"}, {"listen": "[::1]:@PORT@"}]
    tree["access_log"] = {"path": "@RUN@/access.log", "format": "json", "flush": "100ms"}
    return Synproxy(directory, yaml.safe_dump(tree, sort_keys=False))
