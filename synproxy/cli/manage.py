"""``synproxy reload|stop|reopen|upgrade``: tell a running synproxy what to do.

Asks over the control socket. Must not know what the supervisor does.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

from synproxy.cli.control import add_options, talk

if TYPE_CHECKING:
    from synproxy.runtime.control import Control

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
        add_options(parser)
        parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    command = args.command

    async def conversation(control: Control, ended: asyncio.Event) -> int:
        facts = await control.ask(command, _TIMEOUT)
        if command == "stop":
            await ended.wait()
        if command in ("reload", "upgrade"):
            children = len(facts["children"])
            print(f"{command}: done, {children} {'child' if children == 1 else 'children'}")
        return 0

    return talk(args, conversation)
