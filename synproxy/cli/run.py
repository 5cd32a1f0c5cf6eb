"""``synproxy run``: serve until a signal ends it."""

from __future__ import annotations

import argparse
from pathlib import Path

from synproxy.cli.problems import DEFAULT_CONFIG, load_or_explain


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "run",
        help="serve in the foreground",
        description="Serve in the foreground until a signal ends it.",
    )
    parser.add_argument("-c", "--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    config = load_or_explain(args.config)
    if config is None:
        return 1
    from synproxy.runtime.child import serve  # the other commands need no event loop

    return serve(args.config, config, args.loop)
