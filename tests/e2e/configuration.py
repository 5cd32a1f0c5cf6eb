"""Configurations of synproxy for the lab: whole mappings, changed where the lab differs."""

from __future__ import annotations

from typing import Any

import yaml

from tests.e2e import catalogue
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


def from_catalogue(lab: Lab) -> dict[str, Any]:
    """One route for each row of the endpoint table, one pool for each set of workers."""
    base = shipped(lab)
    pools: dict[str, Any] = {}
    routes: list[dict[str, Any]] = []
    for row in catalogue.rows():
        names = catalogue.serving(lab.workers, row.kinds)
        route: dict[str, Any] = {"name": row.name, "location": f"~ {row.regex.pattern}"}
        if row.methods is not None:
            route["methods"] = sorted(row.methods)
        if names == (catalogue.DENIED,):
            route["respond"] = {"status": 403, "errcode": "M_FORBIDDEN"}
        elif row.name == catalogue.SYNC:
            route["pool"] = "$sync"
        else:
            route["pool"] = _pool(pools, lab, names)
        routes.append(route)
    sync = {
        "": _pool(pools, lab, catalogue.serving(lab.workers, ["initial_sync"])),
        "default": _pool(pools, lab, catalogue.serving(lab.workers, ["sync"])),
    }
    routes.append({"name": "main", "location": "/", "pool": _pool(pools, lab, ("main",))})
    base["maps"]["sync"].update(values={"": sync[""]}, default=sync["default"])
    return {**base, "pools": pools, "routes": routes}


def _pool(pools: dict[str, Any], lab: Lab, names: tuple[str, ...]) -> str:
    names = tuple("main" if name == catalogue.LOCAL else name for name in names)
    servers = [f"unix:{lab.places.inbound(name)}" for name in names]
    pools["_".join(names)] = {"servers": servers, "balance": {"hash": "$synapse_user"}}
    return "_".join(names)


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
