"""``synproxy take-over``: start a program on the listening sockets of another one.

Must not know what either program does.
"""

from __future__ import annotations

import argparse
import os
import pwd
import sys
from pathlib import Path

from synproxy.runtime.identity import Identity
from synproxy.runtime.takeover import FORMS, hand_over, listening_sockets


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "take-over",
        help="start a program on the listening sockets of a running one (nginx)",
        description="Start a program on the TCP sockets on which a running process listens. Both "
        "accept connections until the old one ends, so none is lost. The program takes the place "
        "of this process. If the file of --from does not exist, it is started as it is.",
        epilog="synproxy take-over --from /run/nginx.pid --user synproxy -- synproxy run",
    )
    parser.add_argument(
        "--from", dest="pid_file", type=Path, required=True, metavar="PIDFILE", help="the old one's"
    )
    parser.add_argument(
        "--as",
        dest="form",
        choices=FORMS,
        default="systemd",
        help="how the program expects sockets: nginx, for the way back",
    )
    parser.add_argument("--user", type=pwd.getpwnam, metavar="USER", help="become this user first")
    parser.add_argument(
        "command", nargs="+", metavar="COMMAND", help="the program to start, after --"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        pid = int(args.pid_file.read_text())
    except FileNotFoundError:
        return _become(args.command, dict(os.environ), args.user)
    except (OSError, ValueError) as error:
        print(f"{args.pid_file}: {error}", file=sys.stderr)
        return 1
    try:
        sockets = listening_sockets(pid)
    except (OSError, ValueError) as error:
        print(f"process {pid} of {args.pid_file}: {error}", file=sys.stderr)
        return 1
    return _become(args.command, hand_over(sockets, args.form, os.environ), args.user)


def _become(command: list[str], environment: dict[str, str], user: pwd.struct_passwd | None) -> int:
    try:
        if user is not None:
            Identity.of(user).assume()
        os.execvpe(command[0], command, environment)  # noqa: S606 -- what the user asked for
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 1
