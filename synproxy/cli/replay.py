"""``synproxy replay``: where would the requests of a log have gone?

Must not decide anything; it reads the command line and prints counts.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synproxy.cli.problems import add_config_option, load_or_explain
from synproxy.cli.terminal import Paint, table
from synproxy.nginx.access_log import COMBINED, LogFormat, lines, opened

if TYPE_CHECKING:
    from synproxy.cli.replaying import Kind, Replay

DIFFERENT = 3


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "replay",
        help="show where the requests of nginx's log would have gone",
        description="Read access logs of nginx (gzip too, - is standard input) and count where "
        "each request would have gone, without a network. With --against: what another "
        "configuration does otherwise. With $upstream_addr in the format: which requests nginx "
        "sent elsewhere. Exit status 0: no difference, 1: a file cannot be read, 3: differences.",
    )
    parser.add_argument(
        "logs", nargs="+", type=Path, metavar="access.log", help="gzip too; - is standard input"
    )
    add_config_option(parser)
    parser.add_argument("--against", type=Path, metavar="FILE", help="another configuration")
    parser.add_argument(
        "--log-format",
        type=_format,
        default=LogFormat(COMBINED),
        metavar="'FORMAT'",
        help="as in nginx's log_format, without its name (default: combined)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def _format(text: str) -> LogFormat:
    try:
        return LogFormat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(args: argparse.Namespace) -> int:
    config = load_or_explain(args.config)
    against = load_or_explain(args.against) if args.against else None
    if config is None or (args.against and against is None):
        return 1
    from synproxy.cli.replaying import Replay  # the data path's modules

    try:
        replay = Replay(config, args.log_format, against)
    except ValueError as error:
        print(f"{args.config}: {error}", file=sys.stderr)
        return 1
    for path in args.logs:
        try:
            with opened(path) as stream:
                for line in lines(stream):
                    replay.line(line)
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or error
            print(f"{path}: {reason}", file=sys.stderr)
            return 1
    if args.json:
        print(json.dumps(_as_json(replay), indent=2))
    else:
        _show(replay)
    return DIFFERENT if replay.different else 0


def _show(replay: Replay) -> None:
    paint = Paint(sys.stdout)
    rows = [["REQUESTS", "ROUTE", "POOL", "ANSWER"]]
    for goal, count in replay.goals.most_common():
        answer = f"{goal.status} {goal.reason}" if goal.status else "-"
        rows.append([str(count), goal.route or "-", goal.pool or "-", answer])
    header, *others = table(rows)
    print(paint(header, "bold"))
    print("\n".join(others))
    print(f"\n{replay.requests} requests, {replay.bad.count} lines not understood")
    for example in replay.bad.examples:
        print(f"    {example}")
    if replay.changed:
        _kinds("\nThe other configuration differs:", replay.changed.items(), "but now")
    if replay.shadow:
        counts = ", ".join(
            f"{replay.agreement[verdict]} {text}"
            for verdict, text in (
                ("same", "as nginx"),
                ("other server", "to another server of the pool"),
                ("other pool", "to another pool or answer"),
            )
        )
        print(f"\nBeside nginx: {counts}")
        if replay.elsewhere:
            _kinds("nginx chose otherwise:", replay.elsewhere.items(), "but nginx")


def _kinds(title: str, kinds: Iterable[tuple[tuple[object, object], Kind]], between: str) -> None:
    print(title)
    for (one, other), kind in sorted(kinds, key=lambda item: -item[1].count):
        print(f"  {kind.count}  {one}, {between} {other}")
        for example in kind.examples:
            print(f"      {example}")


def _as_json(replay: Replay) -> dict[str, Any]:
    def told(kinds: dict[Any, Kind]) -> list[dict[str, Any]]:
        return [
            {
                "synproxy": str(one),
                "other": str(two),
                "count": kind.count,
                "examples": kind.examples,
            }
            for (one, two), kind in kinds.items()
        ]

    return {
        "requests": replay.requests,
        "not_understood": {"count": replay.bad.count, "examples": replay.bad.examples},
        "goals": [goal._asdict() | {"count": count} for goal, count in replay.goals.most_common()],
        "changed": told(replay.changed),
        "beside_nginx": dict(replay.agreement) if replay.shadow else None,
        "elsewhere": told(replay.elsewhere),
    }
