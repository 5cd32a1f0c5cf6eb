"""The ``doctor`` subcommand: is everything right for the switch from nginx, and after it?

Reads the command line, and prints what the checks found. Must not know what is checked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from synproxy import __version__
from synproxy.cli.problems import DEFAULT_CONFIG, load_or_explain, show_problems
from synproxy.cli.synapse_options import add_synapse_options, synapse_source
from synproxy.cli.terminal import Paint
from synproxy.core.printable import printable

if TYPE_CHECKING:
    from synproxy.cli.doctor.finding import Finding
    from synproxy.config.model import Config
    from synproxy.synapse.deployment import Deployment

_STYLES = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "dim"}
_CLIENTS = 4096  # nginx worker_connections of the documented setup


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="check sockets, servers, limits and discovery, before and after the switch",
        description="Check what a configuration meets on this machine. One line for each check: "
        "ok, warn, fail, or skip for what cannot be asked. Exit status 1: something failed.",
    )
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        help=f"default: {DEFAULT_CONFIG}, or with --synapse what synproxy run --synapse serves",
    )
    parser.add_argument(
        "--url",
        type=_url,
        metavar="URL",
        help="where clients come in: http://..., https://... or unix:/path"
        " (default: the first listener)",
    )
    parser.add_argument(
        "--user",
        type=_user,
        metavar="USER[:GROUP,...]",
        help="judge permissions as this user, with further groups (for root)",
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="holds an access token of any user, to ask for the upload limit",
    )
    parser.add_argument(
        "--clients",
        type=_positive,
        default=_CLIENTS,
        metavar="N",
        help=f"requests at the same time that must fit (default: {_CLIENTS})",
    )
    parser.add_argument(
        "--timeout", type=_seconds, default=5.0, metavar="S", help="for each question (default: 5)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_synapse_options(parser)
    parser.set_defaults(run=run)


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://", "unix:/")):
        raise argparse.ArgumentTypeError(f"{text!r} is no http URL and no unix:/path")
    return text.rstrip("/")


def _user(text: str) -> tuple[str, list[str]]:
    user, _, groups = text.partition(":")
    if not user:
        raise argparse.ArgumentTypeError("expected USER or USER:GROUP,...")
    return user, [group for group in groups.split(",") if group]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 3600:
        raise ValueError
    return seconds


def run(args: argparse.Namespace) -> int:
    # Everything is loaded before the user changes: that one may not be able to read it.
    from synproxy.cli.doctor.examination import Questions, examine, first_url
    from synproxy.cli.doctor.holders import Holders
    from synproxy.cli.doctor.identity import become
    from synproxy.cli.doctor.software import check_software
    from synproxy.cli.doctor.unit import read_unit
    from synproxy.explain.offline import Offline
    from synproxy.synapse.source import MADE_UP

    holders, unit, software = Holders(), read_unit(), list(check_software())
    config: Config | None = None
    deployment: Deployment | None = None
    if args.synapse:
        source = synapse_source(args)
        made = show_problems(lambda: (source.deployment(), source.config()))
        if made is None:
            return 1
        deployment, config = made
    try:
        token = args.token_file.read_text().strip() if args.token_file else ""
        if args.user:
            become(*args.user)
    except PermissionError as error:
        what = error.filename or "--user is for root"
        return _unusable(f"{what}: {error.strerror}")
    except (OSError, ValueError) as error:
        return _unusable(str(error))
    if config is None or args.config is not None:
        config = load_or_explain(args.config or DEFAULT_CONFIG)
    if config is None:
        return 1
    try:
        offline = Offline(config)
    except ValueError as error:
        return _unusable(f"{args.config}: {error}")
    asked = Questions(
        offline=offline,
        url=args.url or first_url(config),
        token=token,
        clients=args.clients,
        patience=args.timeout,
        holders=holders,
        unit=unit,
        software=software,
        deployment=deployment,
    )
    findings = asyncio.run(examine(asked))
    counts = Counter(str(finding.status) for finding in findings)
    if args.json:
        name = args.config or (MADE_UP if args.synapse else DEFAULT_CONFIG)
        print(json.dumps(_as_json(str(name), asked.url, findings, counts), indent=2))
    else:
        _print(findings, counts)
    return 1 if counts["fail"] else 0


def _unusable(message: str) -> int:
    print(f"synproxy doctor: {message}", file=sys.stderr)
    return 1


def _print(findings: Sequence[Finding], counts: Counter[str]) -> None:
    paint = Paint(sys.stdout)
    column = max(len(finding.check) for finding in findings)
    for finding in findings:
        status = paint(f"{finding.status:<4}", _STYLES[finding.status])
        print(f"{status}  {finding.check:<{column}}  {printable(finding.text)}")
    print(", ".join(f"{counts[status]} {status}" for status in _STYLES))


def _as_json(
    config: str, url: str, findings: Sequence[Finding], counts: Counter[str]
) -> dict[str, object]:
    return {
        "synproxy": __version__,
        "config": config,
        "url": url,
        "findings": [
            {
                "check": finding.check,
                "status": str(finding.status),
                "subject": finding.subject,
                "reason": finding.reason,
                "remedy": finding.remedy,
            }
            for finding in findings
        ],
        "counts": {status: counts[status] for status in _STYLES},
    }
