"""``synproxy top``: how the running synproxy is, again and again."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from synproxy.cli.control import add_options, talk

if TYPE_CHECKING:
    from synproxy.runtime.control import Control


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "top",
        help="watch the running synproxy",
        description="Show what `synproxy status` shows, again and again, until Ctrl-C.",
    )
    add_options(parser)
    parser.add_argument(
        "--interval",
        type=_seconds,
        default=2.0,
        metavar="S",
        help="seconds from one look to the next (default: %(default)g)",
    )
    parser.set_defaults(run=run)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.2 <= seconds <= 3600:
        raise ValueError
    return seconds


def run(args: argparse.Namespace) -> int:
    if not sys.stdout.isatty():
        print("synproxy top: this is no terminal; `synproxy status` is for files", file=sys.stderr)
        return 1
    from rich.live import Live

    from synproxy.cli.board import board

    async def watch(control: Control, ended: asyncio.Event) -> int:
        with Live(screen=True, auto_refresh=False) as live:
            while not ended.is_set():
                live.update(board(await control.ask("overview"), trend=True), refresh=True)
                with suppress(TimeoutError):
                    async with asyncio.timeout(args.interval):
                        await ended.wait()
        print("synproxy top: it has ended", file=sys.stderr)
        return 1

    return talk(args, watch)
