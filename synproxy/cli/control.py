"""How commands reach the running synproxy: its control socket.

Must not know what is asked.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synproxy.cli.problems import add_config_option
from synproxy.config.loader import load
from synproxy.errors import ConfigError

if TYPE_CHECKING:
    from synproxy.runtime.control import Control

_RUNTIME_DIRECTORY = "/run/synproxy"


def add_options(parser: argparse.ArgumentParser) -> None:
    """``--config`` and ``--socket``."""
    add_config_option(parser)
    parser.add_argument(
        "--socket",
        type=Path,
        metavar="PATH",
        help="control_socket of the running synproxy (default: as the configuration says)",
    )


def talk(
    args: argparse.Namespace, conversation: Callable[[Control, asyncio.Event], Awaitable[int]]
) -> int:
    """Hold a conversation with the running synproxy; the event is set when that has ended. The
    result is the exit status; 1 with the reason on standard error if there is none."""
    from synproxy.runtime.control import ControlError

    path = None
    try:
        path = args.socket or _path(args.config)
        return asyncio.run(_talk(path, conversation))
    except (ValueError, ControlError) as error:
        print(f"synproxy {args.command}: {error}", file=sys.stderr)
    except OSError as error:
        print(f"synproxy {args.command}: {path}: {error.strerror}", file=sys.stderr)
    return 1


def ask(args: argparse.Namespace, question: str, **arguments: Any) -> dict[str, Any] | None:
    """The answer to one question; None: there is none, and standard error has the reason."""
    answers: list[dict[str, Any]] = []

    async def conversation(control: Control, ended: asyncio.Event) -> int:
        answers.append(await control.ask(question, **arguments))
        return 0

    talk(args, conversation)
    return answers[0] if answers else None


async def _talk(
    path: Path, conversation: Callable[[Control, asyncio.Event], Awaitable[int]]
) -> int:
    from synproxy.runtime.control import Control

    ended = asyncio.Event()
    _, control = await asyncio.get_running_loop().create_unix_connection(
        lambda: Control(ended.set), str(path)
    )
    return await conversation(control, ended)


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
