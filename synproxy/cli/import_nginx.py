"""``synproxy import-nginx``: a configuration made from nginx's.

Must not decide what is in it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from synproxy.cli.problems import show_problems
from synproxy.cli.terminal import Paint
from synproxy.core.printable import printable

if TYPE_CHECKING:
    from synproxy.nginx.importer import Imported

INCOMPLETE = 3


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "import-nginx",
        help="write a configuration from nginx's",
        description="Write a configuration that does what an nginx configuration does. What could "
        "not be carried over is shown with its file and line. Exit status 0: everything was "
        "carried over, 1: the files cannot be read, 3: something is lost or differs.",
        epilog="synproxy import-nginx /etc/nginx/nginx.conf -o /etc/synproxy/synproxy.yaml",
    )
    parser.add_argument("file", type=Path, metavar="nginx.conf", help="with all that it includes")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="default: standard output"
    )
    parser.add_argument(
        "--server",
        metavar="NAME|PORT",
        help="the server block with this server_name, port or address "
        "(default: the one with the most proxied locations)",
    )
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="where / of the includes is, for the files of a container",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from synproxy.nginx.importer import import_nginx
    from synproxy.nginx.tree import read

    imported = show_problems(lambda: import_nginx(read(args.file, args.root), args.server))
    if imported is None:
        return 1
    if args.output is None:
        sys.stdout.write(imported.text)
    else:
        try:
            args.output.write_text(imported.text)
        except OSError as error:
            print(f"{args.output}: {error.strerror}", file=sys.stderr)
            return 1
    _show(imported)
    return INCOMPLETE if imported.findings else 0


def _show(imported: Imported) -> None:
    paint = Paint(sys.stderr)
    for finding in imported.findings:
        one = finding.directive
        place = paint(f"{one.file}:{one.line}:{one.column}:", "bold")
        print(f"{place} {finding.effect}: {printable(one.text)}", file=sys.stderr)
        print(f"    {printable(finding.meaning)}", file=sys.stderr)
    count = len(imported.findings)
    if count:
        print(f"{count} directive{'' if count == 1 else 's'} to look at", file=sys.stderr)
