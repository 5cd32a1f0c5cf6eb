"""Small configurations, compiled for questions."""

from __future__ import annotations

from typing import Any

from synproxy.config.model import Config
from synproxy.explain.offline import Offline

MAPS = {"connection_upgrade": {"source": "$http_upgrade", "values": {"": ""}}}
ALL = {"name": "all", "location": "/", "pool": "main"}


def config(**sections: Any) -> Config:
    """Everything goes to one server that nobody starts, unless the sections say otherwise."""
    return Config.model_validate(
        {
            "listeners": ["127.0.0.1:1"],
            "maps": MAPS,
            "pools": {"main": {"servers": ["unix:/nonexistent/main.sock"]}},
            "routes": [ALL],
            **sections,
        }
    )


def offline(**sections: Any) -> Offline:
    return Offline(config(**sections))
