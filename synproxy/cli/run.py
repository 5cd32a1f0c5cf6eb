"""``synproxy run``: serve until a signal ends it."""

from __future__ import annotations

import argparse
from functools import partial

from synproxy.cli.problems import add_config_option, load_or_explain, show_problems
from synproxy.cli.synapse_options import add_synapse_options, synapse_source
from synproxy.config.loader import load
from synproxy.config.model import Config


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "run",
        help="serve in the foreground",
        description="Serve in the foreground until a signal ends it. SIGHUP reads the "
        "configuration, or Synapse's files, again.",
    )
    add_config_option(parser)
    parser.add_argument(
        "--loop",
        choices=("uvloop", "asyncio"),
        default="uvloop",
        help="the event loop (default: %(default)s)",
    )
    add_synapse_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    config: Config | None
    if args.synapse:
        source = synapse_source(args)
        read = partial(source.config, files=True)
        config = show_problems(read)
    else:
        config = load_or_explain(args.config, files=True)
        read = partial(load, args.config, files=True)
    if config is None:
        return 1
    from synproxy.admin.listener import AdminListener
    from synproxy.runtime.supervisor import serve  # the other commands need no event loop

    return serve(read, config, args.loop, [AdminListener()])
