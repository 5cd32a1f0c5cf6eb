"""The options of every command that reads Synapse's own configuration files.

Must not know what is made of the files.
"""

from __future__ import annotations

import argparse
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

from synproxy.config.addresses import parse_listen
from synproxy.config.wording import did_you_mean, one_of

if TYPE_CHECKING:  # most commands run without any of it
    from synproxy.synapse.source import SynapseSource
    from synproxy.synapse.version import Version


def add_synapse_options(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """``--synapse`` and what goes with it."""
    group = parser.add_argument_group("what Synapse's files say")
    group.add_argument(
        "--synapse",
        nargs="+",
        type=Path,
        metavar="PATH",
        required=required,
        help="homeserver.yaml, and the workers' files or directories with them",
    )
    add_version_option(group)
    group.add_argument(
        "--assign",
        action="append",
        default=[],
        type=_assignment,
        metavar="NAME=KIND[,KIND]",
        help="what a worker is for, in place of what its name says; none: nothing",
    )
    group.add_argument(
        "--listen",
        action="append",
        default=[],
        type=_listen,
        metavar="ADDRESS",
        help="where clients connect (default: port 8008 of all addresses, or the next free one)",
    )
    group.add_argument(
        "--allow",
        action="append",
        default=[],
        type=_network,
        metavar="NETWORK",
        help="who may administer Synapse through synproxy (default: nobody)",
    )


def add_version_option(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--version",
        type=_version,
        metavar="V",
        help="of Synapse, such as 1.157 (default: the newest one that is known)",
    )


def synapse_source(args: argparse.Namespace) -> SynapseSource:
    """What these options ask for; ``args.synapse`` must be given."""
    from synproxy.synapse.render import Choices
    from synproxy.synapse.source import SynapseSource

    return SynapseSource(
        tuple(args.synapse),
        args.version,
        dict(args.assign),
        Choices(tuple(args.listen), tuple(args.allow)),
    )


def _version(text: str) -> Version:
    from synproxy.synapse.version import parse_version

    try:
        return parse_version(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, got {text!r}") from None


def _assignment(text: str) -> tuple[str, tuple[str, ...]]:
    name, equals, kinds = text.partition("=")
    known = assignable()
    chosen = tuple(kind.strip() for kind in kinds.split(","))
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=KIND[,KIND], got {text!r}")
    for kind in chosen:
        if kind not in known:
            hint = did_you_mean(kind, known) or f"expected {one_of(known)}"
            raise argparse.ArgumentTypeError(f"there is no kind {kind!r} ({hint})")
    return name, chosen


def assignable() -> list[str]:
    """The kinds that an administrator can choose; writers are chosen in stream_writers."""
    from synproxy.synapse.catalogue import load_catalogue
    from synproxy.synapse.roles import GENERIC, NONE

    kinds = load_catalogue().kinds.items()
    return [GENERIC, NONE, *(name for name, kind in kinds if kind.resource and not kind.stream)]


def _listen(text: str) -> str:
    try:
        parse_listen(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text)) if "/" in text else str(ipaddress.ip_address(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
