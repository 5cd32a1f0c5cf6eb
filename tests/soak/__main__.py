"""``make soak``: half an hour, or ``ARGS="--minutes 10 --seed 7"``."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from tests.soak.judge import complaints, table
from tests.soak.run import Plan, Soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--people", type=int, default=2, help="clients of each of ten kinds")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    seconds = options.minutes * 60 / options.rounds
    plan = Plan(options.seed, options.rounds, seconds, options.people, calm=options.rounds // 2)
    with tempfile.TemporaryDirectory(prefix="syn") as name:
        directory = Path(name)
        result = asyncio.run(Soak(directory, plan, print).run())
        wrong = complaints(result, directory)
    print(f"Seed {plan.seed}, {plan.rounds} rounds of {seconds:g} s.\n")
    print(table(result))
    for complaint in wrong:
        print(complaint, file=sys.stderr)
    return 1 if wrong else 0


sys.exit(main())
