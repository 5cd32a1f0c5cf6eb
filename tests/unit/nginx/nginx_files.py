"""Small nginx configurations for tests of the import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from synproxy.config.loader import loads
from synproxy.explain.offline import Offline, imagine
from synproxy.nginx.importer import Imported, import_nginx
from synproxy.nginx.tree import read

HTTP = """\
events {{ }}
http {{
    upstream one {{ server 127.0.0.1:9001; }}
    upstream two {{ server 127.0.0.1:9002; server 127.0.0.1:9003; }}
{http}
    server {{
        listen 8008;
{server}
    }}
}}
"""
PASS = "location / { proxy_pass http://one; }"
"""What a server block needs besides what is tried."""


def written(directory: Path, server: str, http: str = "") -> Path:
    path = directory / "nginx.conf"
    path.write_text(HTTP.format(http=http, server=server))
    return path


def imported(directory: Path, server: str, http: str = "") -> Imported:
    return import_nginx(read(written(directory, server, http)))


def as_tree(result: Imported) -> dict[str, Any]:
    """The YAML, which has to load."""
    loads(result.text, "synproxy.yaml")
    tree = yaml.safe_load(result.text)
    assert isinstance(tree, dict)
    return tree


def told(result: Imported) -> list[tuple[int, str, str]]:
    """Line, name and effect of each finding."""
    found = [(one.directive.line, one.directive.name, one.effect.value) for one in result.findings]
    return sorted(found)


class Routed:
    """Where requests go with an imported configuration."""

    def __init__(self, result: Imported) -> None:
        self._offline = Offline(loads(result.text, "synproxy.yaml"))

    def __call__(self, path: str, host: str = "localhost") -> str:
        """A pool's name, or a status."""
        request = imagine("GET", path, [(b"Host", host.encode())], "203.0.113.7")
        decision = self._offline.generation.decide(path.partition("?")[0].encode(), b"GET")
        if decision.route is None:
            return "404"
        if decision.route.respond is not None:
            return str(decision.route.respond.status)
        target = decision.route.choose(request)
        return "502" if target is None else target.pool.name
