"""``synproxy status``: how the running synproxy is, once."""

from __future__ import annotations

import argparse
import json

from synproxy.cli.control import add_options, ask

_FILE_WIDTH = 500
"""Columns of what is no terminal: nothing is cut there."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "status",
        help="show how the running synproxy is",
        description="Show the state of the running synproxy: what needs a look, its pools and "
        "servers, rates and errors of the last minute. The exit status is 3 if something is "
        "broken: a pool without a server, or no child that serves.",
    )
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    shown = ask(args, "overview")
    if shown is None:
        return 1
    if args.json:
        print(json.dumps(shown, indent=1))
    else:
        from rich.console import Console

        from synproxy.cli.board import board

        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=_FILE_WIDTH)
        console.print(board(shown))
    return 3 if shown["level"] == "critical" else 0
