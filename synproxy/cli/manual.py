"""The command line as Markdown, made from the argument parser: for docs/ and synproxy(8).

``python -m synproxy.cli.manual`` prints it. Must not know Sphinx, nor what commands do.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from synproxy.cli.main import build_parser

_WIDTH = 88


def text() -> str:
    """Every command with its usage, arguments and options, in the order of ``--help``."""
    parser = build_parser()
    lines: list[str] = []
    for name, command in commands(parser).items():
        lines += [f"### synproxy {name}", "", command.description or "", ""]
        lines += [*_usage(command), ""]
        lines += _options(command)
    return "\n".join(lines)


def commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parser of each command, by its name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise LookupError("the parser has no commands")


def _usage(command: argparse.ArgumentParser) -> Iterator[str]:
    command.formatter_class = _wide
    yield "```text"
    yield command.format_usage().removeprefix("usage: ").rstrip()
    yield "```"


def _wide(prog: str) -> argparse.HelpFormatter:
    """Not as wide as the terminal that the documentation happens to be built in."""
    return argparse.HelpFormatter(prog, width=_WIDTH)


def _options(command: argparse.ArgumentParser) -> Iterator[str]:
    formatter = _wide(command.prog)
    for action in command._actions:
        if isinstance(action, argparse._HelpAction) or action.help == argparse.SUPPRESS:
            continue
        value = formatter._format_args(action, _metavar(action)) if action.nargs != 0 else ""
        if action.option_strings:
            names = ", ".join(f"`{f'{name} {value}'.strip()}`" for name in action.option_strings)
        else:
            names = f"`{value}`"
        yield names
        yield f": {_help(action)}"
        yield ""


def _metavar(action: argparse.Action) -> str:
    if action.choices is not None and action.metavar is None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return action.dest if not action.option_strings else action.dest.upper()


def _help(action: argparse.Action) -> str:
    told = " ".join((action.help or "").split())
    if action.help and "%(" in action.help:
        told = told % vars(action)
    default = action.default
    if (
        action.nargs != 0
        and default not in (None, argparse.SUPPRESS, [], "")
        and ("default" not in told)
    ):
        told = f"{told} (default: `{default}`)".strip()
    if not told:
        raise LookupError(f"no help for {action.dest}")
    return told


if __name__ == "__main__":
    sys.stdout.write(text())
