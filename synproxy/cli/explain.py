"""``synproxy explain``: where would this request go, and why? Answered without a network.

Must not know how an explanation comes about; it reads the command line and prints.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import re
import sys
from typing import Any

from synproxy.cli.control import add_options, ask
from synproxy.cli.problems import load_or_explain
from synproxy.errors import DownstreamError

SOMEBODY = "203.0.113.7"  # TEST-NET-3, RFC 5737: on nobody's allowlist

_FIELD = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*)")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "explain",
        help="show where a request would go, and why",
        description="Show, without a network, where a request would go, and why.",
    )
    parser.add_argument("method", metavar="METHOD", type=str.upper, help="such as GET")
    parser.add_argument("url", metavar="URL", help="https://host/path?query or only /path?query")
    parser.add_argument(
        "-H",
        dest="fields",
        action="append",
        default=[],
        type=_field,
        metavar="'Name: value'",
        help="a header field; may be given again",
    )
    parser.add_argument(
        "--from",
        dest="remote_addr",
        type=_address,
        metavar="ADDRESS",
        help=f"the client's address, or unix: (default: {SOMEBODY})",
    )
    add_options(parser)
    parser.add_argument(
        "--running",
        action="store_true",
        help="ask the running synproxy which servers are drained, and whether there is maintenance",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def _field(text: str) -> tuple[bytes, bytes]:
    match = _FIELD.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not 'Name: value'")
    return match[1].encode(), match[2].rstrip(" \t").encode()


def _address(text: str) -> str:
    try:
        return text if text == "unix:" else str(ipaddress.ip_address(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(args: argparse.Namespace) -> int:
    config = load_or_explain(args.config)
    if config is None:
        return 1
    # The data path's modules; `check` and `--help` do without them.
    from synproxy.cli.explain_text import print_explanation
    from synproxy.explain.explanation import explain
    from synproxy.explain.offline import Offline, imagine
    from synproxy.runtime.interventions import Interventions

    offline = Offline(config)
    if args.running:
        facts = ask(args, "status")
        if facts is None:
            return 1
        wanted = Interventions.from_facts(facts["interventions"])
        offline.generation.intervene(wanted.drained, wanted.answer(config.maintenance))
    explanation: dict[str, Any] = {
        "from": {
            "address": args.remote_addr or SOMEBODY,
            "assumed": args.remote_addr is None,
        }
    }
    try:
        request = imagine(
            args.method,
            args.url,
            args.fields,
            args.remote_addr or SOMEBODY,
            config.http.max_header_count,
        )
        if said := offline.locate(request):
            explanation["from"] |= {"address": request.remote_addr.decode(), "told": said}
        explanation |= explain(offline, request)
    except DownstreamError as error:
        explanation["answer"] = {"status": error.status, "reason": error.reason}
    if args.json:
        print(json.dumps(explanation, indent=2))
    else:
        print_explanation(explanation, sys.stdout)
    return 0
