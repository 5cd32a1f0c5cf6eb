"""``synproxy check`` and ``synproxy -t``: is the configuration file usable?

Must not start anything.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from synproxy.cli.problems import add_config_option, load_or_explain

OK, MISTAKES = 0, 1


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "check",
        help="check a configuration file and show every mistake in it",
        description="Check a configuration file. Exit status 0: usable, 1: not.",
    )
    add_config_option(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="print mistakes only")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if not _usable(args.config):
        return MISTAKES
    if not args.quiet:
        print(f"configuration file {args.config} test is successful")
    return OK


def _usable(path: Path) -> bool:
    """Whether the file loads and everything in it compiles; says what is wrong."""
    config = load_or_explain(path, files=True)
    if config is None:
        return False
    from synproxy.explain.offline import Offline

    try:
        Offline(config)
    except ValueError as error:
        print(f"{path}: {error}", file=sys.stderr)
        return False
    return True


def run_as_nginx(config: Path, quiet: bool) -> int:
    """``synproxy -t``: what ``nginx -t`` prints, so that scripts find the lines they look for."""
    if not _usable(config):
        print(f"synproxy: configuration file {config} test failed", file=sys.stderr)
        return MISTAKES
    if not quiet:
        print(f"synproxy: the configuration file {config} syntax is ok", file=sys.stderr)
        print(f"synproxy: configuration file {config} test is successful", file=sys.stderr)
    return OK
