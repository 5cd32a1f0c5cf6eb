"""One target under atheris (libFuzzer), guided by coverage, for a bounded time.

    python -m tests.fuzz.mutate TARGET SECONDS DIRECTORY

What it finds is left in the directory as crash-*, and its exit status is not 0.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["synproxy"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    name, seconds, directory = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    target = TARGETS[name]
    corpus = Path(directory) / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    found = Path(directory) / f"{name}-"
    atheris.Setup(
        [
            "fuzz",
            f"-max_total_time={seconds}",
            "-max_len=4096",
            "-timeout=20",
            f"-artifact_prefix={found}",
            "-print_final_stats=1",
            str(corpus),
        ],
        target.check,
    )
    atheris.Fuzz()


main()
