"""All collected messages sent to synproxy, and `docs/hostile.md`: what became of them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from tests.hostile.answers import Fate, fate
from tests.hostile.conversation import CONFIG, CUTS, converse, serve, whole
from tests.hostile.corpus import (
    ANSWER_KINDS,
    PEERS,
    REQUEST_KINDS,
    HostileAnswer,
    HostileRequest,
    hostile_answers,
    hostile_requests,
)
from tests.hostile.judge import Outcome
from tests.hostile.memory import World

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "hostile.md"

LISTED: Final = {"gunicorn/invalid/rfc9110_trailer_forbidden_host_01": "forbidden-trailers"}
"""Messages that all four peers forward and synproxy refuses, each with the row of
docs/nginx-differences.md that says why."""


@cache
def request_outcomes() -> dict[str, dict[HostileRequest, Outcome]]:
    """By the way the message was cut."""

    async def all_of_them() -> dict[str, dict[HostileRequest, Outcome]]:
        found: dict[str, dict[HostileRequest, Outcome]] = {}
        async with World(CONFIG, serve) as world:
            for cut in CUTS:
                found[cut.__name__] = {
                    case: await converse(world, cut(case.raw), case.id)
                    for case in hostile_requests()
                }
        return found

    return asyncio.run(all_of_them())


@cache
def answer_fates() -> dict[tuple[str, bool], dict[HostileAnswer, Fate]]:
    """By the way the answer was cut, and whether the server closes behind it."""

    async def all_of_them() -> dict[tuple[str, bool], dict[HostileAnswer, Fate]]:
        return {
            (cut.__name__, closes): {
                case: await fate(case.raw, cut, closes=closes) for case in hostile_answers()
            }
            for cut in CUTS
            for closes in (True, False)
        }

    return asyncio.run(all_of_them())


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [" | ".join(head), " | ".join(["---"] + ["---:"] * (len(head) - 1))]
    lines += [" | ".join(map(str, row)) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _request_table() -> str:
    results = request_outcomes()[whole.__name__]
    rows = []
    total: Counter[str] = Counter()
    for kind in (*REQUEST_KINDS, "**all**"):
        count: Counter[str] = total
        if kind in REQUEST_KINDS:
            count = Counter()
            for case, result in results.items():
                if case.kind == kind:
                    count["cases"] += 1
                    count[f"{case.consensus} {result.verdict}"] += 1
                    count[result.verdict] += 1
            total += count
        rejected = count["all-reject R"] + count["late-reject R"]
        asked = rejected + count["all-reject F"] + count["late-reject F"]
        forwarded = count["all-forward F"]
        rows.append(
            (
                kind,
                count["cases"],
                count["R"],
                count["F"],
                f"{rejected} of {asked}",
                f"{forwarded} of {forwarded + count['all-forward R']}",
                f"{count['differ R']} / {count['differ F']}",
            )
        )
    return _table(
        (
            "what is odd",
            "cases",
            "refused",
            "forwarded",
            "refused where all four refuse",
            "forwarded where all four forward",
            "refused / forwarded where they differ",
        ),
        rows,
    )


def _status_table() -> str:
    results = request_outcomes()[whole.__name__]
    count = Counter(result.statuses[0] for result in results.values() if result.verdict == "R")
    return _table(("refused with", "cases"), sorted(count.items()))


def _answer_table() -> str:
    rows = []
    for kind in ANSWER_KINDS:
        for closes in (True, False):
            count = Counter(
                one.verdict
                for case, one in answer_fates()[whole.__name__, closes].items()
                if case.kind == kind
            )
            behind = "closes" if closes else "falls silent"
            known = ("passed on", "cut", "502", "504")
            assert set(count) <= set(known), count
            rows.append((kind, behind, count.total(), *(count[verdict] for verdict in known)))
    head = ("what is odd", "then the server", "cases", "passed on", "cut", "502", "504")
    return _table(head, rows)


def render() -> str:
    """The document. Thousands of failed attempts are told to no log meanwhile."""
    log = logging.getLogger("synproxy")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        return _render()
    finally:
        log.setLevel(before)


def _render() -> str:
    requests, answers = hostile_requests(), hostile_answers()
    listed = "\n".join(f"- `{name}`: row `{row}`" for name, row in LISTED.items())
    return f"""# Hostile messages

{len(requests):,} requests and {len(answers)} answers from public test suites
(`tests/hostile/data/README.md`), each sent to synproxy whole, byte by byte, and cut behind each CR.
Written by `make hostile`; a test fails when it is not current.

For every request it is asserted (`tests/hostile/judge.py`, `tests/hostile/test_messages.py`):

- However it is cut, the answers and what servers get are the same.
- What a server gets is in one canonical form, and h11, llhttp and a reader that takes everything
  read the same requests in it.
- A server never gets more requests than the client got answers from it, and each carries the one
  `X-Forwarded-For` that synproxy sets.
- Each answer has its line in the access log. After a refusal the connection closes.
- What {", ".join(PEERS[:-1])} and {PEERS[-1]} all refuse is refused. What they all forward is
  forwarded, or listed below with its row in [nginx-differences.md](nginx-differences.md). Where
  they differ, it is refused, or forwarded in the one form that all readers read alike.

`tests/hostile/test_running.py` sends them to a running synproxy over sockets, on uvloop and on
asyncio, and asserts the same.

## Requests

{_request_table()}

{_status_table()}

Refused, though all four forward them:

{listed}

## Answers

A client asks three times: the first gets the odd answer, the second comes behind it on the same
connection, the third on a fresh one. Asserted for every answer (`tests/hostile/answers.py`): the
second and third get their own answer and nothing else; whatever is *passed on* means the same to
h11; and a server connection stays open only if it is idle and its answer was beyond doubt.

{_answer_table()}

*cut*: the client has a part, and its connection ends in a way that tells it so. *502*, *504*: an
error of synproxy's own, as JSON.
"""


def main() -> None:
    DOCUMENT.write_text(render())
    print(f"{DOCUMENT.name} written")
