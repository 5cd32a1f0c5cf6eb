"""Configurations of synproxy for the lab: whole mappings, changed where the lab differs."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import yaml

from tests.support.lab import Lab
from tests.support.paths import ROOT

LISTEN = "127.0.0.1:18008"
ACCESS_LOG = {"path": "@RUN@/access.log", "format": "json", "flush": "0s"}
RESTART_HOLD = "60s"
"""Far longer than a worker takes to start, also on a machine with too much to do."""
SHIPPED_SOCKETS = "/run/matrix-synapse/"


def shipped(lab: Lab) -> dict[str, Any]:
    """config/synapse-workers.yaml with the lab's directory in place of /run/matrix-synapse.

    It names more servers than the lab has: their sockets do not exist, as after a failed start.
    """
    text = (ROOT / "config/synapse-workers.yaml").read_text()
    content = yaml.safe_load(text.replace(SHIPPED_SOCKETS, f"{lab.directory}/"))
    assert isinstance(content, dict)
    return content


def made_by_init(lab: Lab, restart_hold: str = RESTART_HOLD) -> str:
    """What `synproxy init` writes for the lab's Synapse, with the listener and the log of a test.

    ``restart_hold``, everywhere, is how long requests wait for a worker.
    """
    files = (str(lab.places.homeserver), str(lab.places.worker("").parent))
    command = (sys.executable, "-m", "synproxy", "init", "--listen", LISTEN, "--synapse", *files)
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    text, listeners = re.subn(re.escape(LISTEN), "127.0.0.1:@PORT@", text)
    text, holds = re.subn(r"restart_hold: [0-9]+s", f"restart_hold: {restart_hold}", text)
    assert listeners == 1
    assert holds > 0
    return text + yaml.safe_dump({"access_log": ACCESS_LOG})


def observed(content: dict[str, Any]) -> str:
    """The configuration as text: on a port of the test, with an access log that names each request
    to Synapse by its id."""
    content = {
        **content,
        "listeners": ["127.0.0.1:@PORT@"],
        "access_log": ACCESS_LOG,
    }
    set_header = {**content["proxy"]["set_header"], "X-Request-Id": "$request_id"}
    content["proxy"] = {**content["proxy"], "set_header": set_header}
    return yaml.safe_dump(content, sort_keys=False)
