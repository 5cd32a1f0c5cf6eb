"""``synproxy drain|undrain|maintenance``: what operators change while it runs.

Must not know what follows from it.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from synproxy.cli.control import add_options, ask
from synproxy.cli.terminal import Paint

_LASTING = (
    " It is remembered over reloads, upgrades and crashes of children; a restart of synproxy "
    "forgets it."
)


def add_parsers(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    drain = subparsers.add_parser(
        "drain",
        help="give a server no new requests",
        description="Give a server no new requests, and let those under way end; of a pool with a "
        "hash only the keys that are at home there go elsewhere." + _LASTING,
    )
    undrain = subparsers.add_parser(
        "undrain",
        help="give a drained server requests again",
        description="Give a drained server requests again.",
    )
    for parser in (drain, undrain):
        parser.add_argument(
            "server",
            metavar="SERVER",
            help="its address in the configuration, or the name of its socket without .sock",
        )
        add_options(parser)
        parser.set_defaults(run=_drain)
    maintenance = subparsers.add_parser(
        "maintenance",
        help="answer clients with 503 for a while",
        description="Answer all that would be forwarded with 503 and a reason, but for /health and "
        "routes with allowlists; what is under way goes on." + _LASTING,
    )
    maintenance.add_argument("state", choices=("on", "off"), help="begin, or end")
    maintenance.add_argument(
        "--error",
        metavar="TEXT",
        help="what clients are told (default: maintenance.error of the configuration)",
    )
    maintenance.add_argument(
        "--retry-after",
        metavar="DURATION",
        help="when they may come again, such as 10m (default: maintenance.retry_after)",
    )
    add_options(maintenance)
    maintenance.set_defaults(run=_maintenance)


def _drain(args: argparse.Namespace) -> int:
    return _told(args, ask(args, args.command, server=args.server))


def _maintenance(args: argparse.Namespace) -> int:
    on = args.state == "on"
    if not on and (args.error or args.retry_after):
        print("synproxy maintenance: --error and --retry-after are for on", file=sys.stderr)
        return 2
    answer = ask(args, "maintenance", on=on, error=args.error, retry_after=args.retry_after)
    return _told(args, answer)


def _told(args: argparse.Namespace, answer: dict[str, Any] | None) -> int:
    if answer is None:
        return 1
    print(f"drained: {', '.join(answer['drained']) or 'none'}")
    print(f"maintenance: {'on' if answer['maintenance'] else 'off'}")
    paint = Paint(sys.stderr)
    for warning in answer["warnings"]:
        print(paint(f"synproxy {args.command}: {warning}", "yellow"), file=sys.stderr)
    return 0
