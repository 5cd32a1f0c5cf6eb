"""``synproxy init``: a configuration made from Synapse's own files.

Must not decide what is in it.
"""

from __future__ import annotations

import argparse
import sys

from synproxy.cli.problems import show_problems
from synproxy.cli.synapse_options import add_synapse_options, synapse_source


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "init",
        help="write a configuration for the Synapse that its own files describe",
        description="Write, to standard output, a configuration for the Synapse that "
        "homeserver.yaml and its workers' files describe: every endpoint of that version goes to a "
        "process that serves it. Exit status 1: the files have mistakes, which are shown.",
        epilog="synproxy init --synapse /etc/matrix-synapse/homeserver.yaml "
        "/etc/matrix-synapse/workers > /etc/synproxy/synproxy.yaml",
    )
    add_synapse_options(parser, required=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    text = show_problems(synapse_source(args).text)
    if text is None:
        return 1
    sys.stdout.write(text)
    return 0
