"""``synproxy reload|stop|reopen|upgrade``: tell a running synproxy what to do.

Asks over the control socket. Must not know what the supervisor does.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from synproxy.cli.problems import add_config_option
from synproxy.config.loader import load
from synproxy.errors import ConfigError

_RUNTIME_DIRECTORY = "/run/synproxy"
_COMMANDS = {
    "reload": (
        "use the configuration as it is now",
        "Let the running synproxy read its configuration again. A bad one changes nothing: the "
        "reason is printed, and the exit status is 1.",
    ),
    "stop": (
        "take no new connections, let open ones end, and end",
        "Let the running synproxy drain and end (SIGTERM); returns when it has.",
    ),
    "reopen": (
        "open the access log anew, after logrotate",
        "Let the running synproxy open its access log anew (SIGUSR1).",
    ),
    "upgrade": (
        "replace the running program by the installed one",
        "Start the installed program beside the running one with the same sockets (SIGUSR2), and "
        "let the old one drain once the new one serves. If that does not start, nothing changes: "
        "the exit status is 1.",
    ),
}
_TIMEOUT = 300.0  # seconds; a start takes less


def add_parsers(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for name, (summary, description) in _COMMANDS.items():
        parser = subparsers.add_parser(name, help=summary, description=description)
        add_config_option(parser)
        parser.add_argument(
            "--socket",
            type=Path,
            metavar="PATH",
            help="control_socket of the running synproxy (default: as the configuration says)",
        )
        parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        path = args.socket or _path(args.config)
        return asyncio.run(_ask(path, args.command))
    except ValueError as error:
        print(f"synproxy {args.command}: {error}", file=sys.stderr)
    except OSError as error:
        print(f"synproxy {args.command}: {path}: {error.strerror}", file=sys.stderr)
    return 1


def _path(config: Path) -> Path:
    from synproxy.runtime.office import SOCKET_NAME, control_path

    try:
        path = control_path(load(config), _RUNTIME_DIRECTORY)
    except (ConfigError, OSError) as error:
        path = Path(_RUNTIME_DIRECTORY) / SOCKET_NAME
        if not path.exists():
            raise ValueError(f"{error}\nwhere is control_socket? --socket PATH tells") from None
    if path is None:
        raise ValueError("control_socket is off in the configuration: send a signal instead")
    return path


async def _ask(path: Path, command: str) -> int:
    from synproxy.runtime.control import Control, ControlError

    ended = asyncio.Event()
    _, control = await asyncio.get_running_loop().create_unix_connection(
        lambda: Control(ended.set), str(path)
    )
    try:
        facts: dict[str, Any] = await control.ask(command, _TIMEOUT)
        if command == "stop":
            await ended.wait()
    except ControlError as error:
        print(f"synproxy {command}: {error}", file=sys.stderr)
        return 1
    if command in ("reload", "upgrade"):
        children = len(facts["children"])
        print(f"{command}: done, {children} {'child' if children == 1 else 'children'}")
    return 0
