"""The ``synproxy`` command: reads the command line and hands over to one module per subcommand.

Exit status: 0 done, 1 a mistake in the configuration (or a check that failed), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from synproxy import __version__
from synproxy.cli import (
    check,
    demo,
    explain,
    import_nginx,
    init,
    intervene,
    lint,
    manage,
    replay,
    routes,
    run,
    status,
    take_over,
    top,
)
from synproxy.cli.doctor import command as doctor
from synproxy.cli.problems import DEFAULT_CONFIG


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="synproxy",
        description="A reverse proxy in front of a worker-based Synapse.",
        epilog="-t, -q and -c without a command work as they do in nginx.",
    )
    parser.add_argument("-v", "--version", action="version", version=f"synproxy {__version__}")
    parser.add_argument("-t", dest="test", action="store_true", help="as nginx -t")
    parser.add_argument("-q", dest="test_quiet", action="store_true", help="with -t: mistakes only")
    parser.add_argument("-c", dest="test_config", type=Path, metavar="FILE", help="with -t: FILE")
    subparsers = parser.add_subparsers(metavar="COMMAND", dest="command")
    for command in (
        run,
        init,
        import_nginx,
        check,
        lint,
        doctor,
        explain,
        routes,
        replay,
        take_over,
        demo,
    ):
        command.add_parser(subparsers)
    status.add_parser(subparsers)
    top.add_parser(subparsers)
    intervene.add_parsers(subparsers)
    manage.add_parsers(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.test:
        if args.command is not None:
            parser.error(f"-t and {args.command} exclude each other")
        return check.run_as_nginx(args.test_config or DEFAULT_CONFIG, args.test_quiet)
    if args.command is None:
        parser.error("a command is needed")
    if args.test_config is not None or args.test_quiet:
        parser.error(f"options of {args.command} are written after it")
    command: Callable[[argparse.Namespace], int] = args.run
    try:
        status = command(args)
        sys.stdout.flush()
    except BrokenPipeError:  # synproxy routes | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
