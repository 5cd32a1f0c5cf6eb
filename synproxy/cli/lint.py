"""``synproxy lint``: what is risky, dead or missing in a configuration that loads.

Must not know the rules: it finds what to look at, and prints what they found.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from synproxy.cli.problems import DEFAULT_CONFIG, excerpt, show_problems
from synproxy.cli.synapse_options import add_synapse_options, synapse_source
from synproxy.cli.terminal import Paint
from synproxy.core.printable import printable

if TYPE_CHECKING:
    from synproxy.lint.finding import Finding
    from synproxy.lint.subject import Subject

SHOWN = 8
"""Requests that are printed for a finding; ``--json`` has all."""

_STYLES = {"error": "red", "warning": "yellow"}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "lint",
        help="find routes that are wrong, dead or missing for your Synapse",
        description="Find what `check` cannot see: endpoints that reach a process without them, or "
        "none at all, routes that never win, regexes that take too much or too long, an open admin "
        "API. Exit status 1: at least one error. With --synapse and no --config, what `init` would "
        "write is looked at; with both, the file, for the processes that Synapse's files name.",
    )
    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help=f"(default: {DEFAULT_CONFIG})"
    )
    add_synapse_options(parser)
    parser.add_argument(
        "--ask", action="store_true", help="ask Synapse itself, through a pool, for its version"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from synproxy.lint.lint import lint

    if args.ask and args.version:
        print("synproxy lint: --ask and --version exclude each other", file=sys.stderr)
        return 2
    made = show_problems(lambda: _subject(args))
    if made is None:
        return 1
    subject, text = made
    if args.ask and not _ask(subject):
        return 1
    findings = lint(subject)
    if args.json:
        content = {
            "version": str(subject.version),
            "findings": [finding.as_json() for finding in findings],
        }
        print(json.dumps(content, indent=2))
    else:
        print_findings(findings, text.splitlines(), sys.stdout)
    return 1 if any(finding.severity == "error" for finding in findings) else 0


def _subject(args: argparse.Namespace) -> tuple[Subject, str]:
    """What to look at, and its text. Raises ConfigError."""
    from synproxy.config import document
    from synproxy.config.loader import loads, read_text
    from synproxy.lint.subject import Subject
    from synproxy.synapse.catalogue import load_catalogue
    from synproxy.synapse.source import MADE_UP

    version = args.version or load_catalogue().newest
    deployment = None
    text, file = "", MADE_UP
    if args.synapse:
        source = synapse_source(args)
        deployment = source.deployment()
        text = source.text_for(deployment)
    if args.config or not args.synapse:
        file = str(args.config or DEFAULT_CONFIG)
        text = read_text(file)
    return Subject(loads(text, file), document.read(text, file), version, deployment), text


def _ask(subject: Subject) -> bool:
    """Take the version that Synapse says it has; False, and a message, if nobody says it."""
    import asyncio

    from synproxy.cli.doctor.asking import NoReplyError, ask
    from synproxy.synapse.version import parse_version

    target = "/_matrix/federation/v1/version"
    route = subject.route_of("GET", target)
    pools = [*(subject.pools_of(route) if route is not None else ()), *subject.config.pools]
    reasons = []
    for address in dict.fromkeys(
        server.address for pool in pools for server in subject.config.pools[pool].servers
    ):
        try:
            reply = asyncio.run(ask(address, target, 5.0))
            subject.version = parse_version(str(reply.json()["server"]["version"]))
        except (NoReplyError, KeyError, TypeError, ValueError) as error:
            reasons.append(f"  {address}: {error}")
            continue
        return True
    print("no server says its version:", *reasons, sep="\n", file=sys.stderr)
    return False


def print_findings(findings: Sequence[Finding], lines: list[str], stream: TextIO) -> None:
    """Each with its line and a caret below the place, as ``check`` does, and why it matters."""
    paint = Paint(stream)
    for finding in findings:
        place = paint(f"{finding.file}:{finding.line}:{finding.column}:", "bold")
        severity = paint(f"{finding.severity}:", _STYLES[finding.severity])
        print(f"{place} {severity} {printable(finding.what)} [{finding.rule}]", file=stream)
        for line in excerpt(lines, finding.line, finding.column):
            print(line, file=stream)
        print(f"    why: {printable(finding.why)}", file=stream)
        if finding.hint:
            print(f"    hint: {printable(finding.hint)}", file=stream)
        for number, example in enumerate(finding.examples[:SHOWN]):
            print(f"    {'e.g.' if number == 0 else '    '} {printable(example)}", file=stream)
        if len(finding.examples) > SHOWN:
            print(f"         and {len(finding.examples) - SHOWN} more", file=stream)
    errors = sum(finding.severity == "error" for finding in findings)
    print(f"{_count(errors, 'error')}, {_count(len(findings) - errors, 'warning')}", file=stream)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
