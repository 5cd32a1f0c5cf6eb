"""``synproxy routes``: every route in the order of evaluation, and the pools they lead to.

Must not know requests.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from synproxy.cli.problems import add_config_option, load_or_explain
from synproxy.cli.terminal import Paint, table, width
from synproxy.config.model import Route, Server

if TYPE_CHECKING:
    from synproxy.explain.offline import Offline


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "routes",
        help="list the routes in the order in which they are tried",
        description="List the routes in the order in which they are tried, and the pools.",
    )
    add_config_option(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    config = load_or_explain(args.config)
    if config is None:
        return 1
    from synproxy.explain.offline import Offline  # the data path's modules

    offline = Offline(config)
    if args.json:
        print(json.dumps(_as_json(offline), indent=2))
        return 0
    paint, limit = Paint(sys.stdout), width(sys.stdout)
    for rows in (_route_rows(offline), _pool_rows(offline)):
        header, *lines = table(rows, limit)
        print(paint(header, "bold"))
        print("\n".join(lines))
        print()
    return 0


def _destination(route: Route) -> str:
    return f"pool {route.pool}" if route.respond is None else f"answer {route.respond.status}"


def _route_rows(offline: Offline) -> list[list[str]]:
    rows = [["#", "ROUTE", "METHODS", "TO", "ALLOWLISTS", "LOCATION"]]
    for number, index in enumerate(offline.evaluation_order(), start=1):
        route = offline.routes[index]
        between = " or " if route.satisfy == "any" else " and "
        rows.append(
            [
                str(number),
                route.name,
                ",".join(route.methods) or "any",
                _destination(route),
                between.join(route.allowlists) or "-",
                route.location,
            ]
        )
    return rows


def _pool_rows(offline: Offline) -> list[list[str]]:
    from synproxy.explain.balance import balance_text

    rows = [["POOL", "BALANCE", "KEEPALIVE", "SERVERS"]]
    for name, pool in offline.config.pools.items():
        first = [name, balance_text(pool), str(pool.keepalive)]
        for server in pool.servers:
            rows.append([*first, _server_text(server)])
            first = ["", "", ""]
    return rows


def _server_text(server: Server) -> str:
    words = [server.address]
    words += [f"weight={server.weight}"] if server.weight != 1 else []
    words += [f"max_fails={server.max_fails}"] if server.max_fails else []
    words += [f"max_conns={server.max_conns}"] if server.max_conns else []
    words += [name for name in ("backup", "down") if getattr(server, name)]
    return " ".join(words)


def _as_json(offline: Offline) -> dict[str, Any]:
    return {
        "routes": [
            offline.routes[index].model_dump(
                mode="json",
                include={"name", "location", "methods", "pool", "respond", "allowlists", "satisfy"},
            )
            for index in offline.evaluation_order()
        ],
        "pools": {
            name: pool.model_dump(mode="json") for name, pool in offline.config.pools.items()
        },
    }
