"""Configurations of synproxy for the lab: whole mappings, changed where the lab differs."""

from __future__ import annotations

from typing import Any

import yaml

from tests.support.lab import Lab
from tests.support.paths import ROOT

SHIPPED_SOCKETS = "/run/matrix-synapse/"


def shipped(lab: Lab) -> dict[str, Any]:
    """config/synapse-workers.yaml with the lab's directory in place of /run/matrix-synapse.

    It names more servers than the lab has: their sockets do not exist, as after a failed start.
    """
    text = (ROOT / "config/synapse-workers.yaml").read_text()
    content = yaml.safe_load(text.replace(SHIPPED_SOCKETS, f"{lab.directory}/"))
    assert isinstance(content, dict)
    return content


def observed(content: dict[str, Any]) -> str:
    """The configuration as text: on a port of the test, with an access log that names each request
    to Synapse by its id."""
    content = {
        **content,
        "listeners": ["127.0.0.1:@PORT@"],
        "access_log": {"path": "@RUN@/access.log", "format": "json", "flush": "0s"},
    }
    set_header = {**content["proxy"]["set_header"], "X-Request-Id": "$request_id"}
    content["proxy"] = {**content["proxy"], "set_header": set_header}
    return yaml.safe_dump(content, sort_keys=False)
