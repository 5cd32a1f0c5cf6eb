"""Every Matrix endpoint as (method, raw path) samples, in an order that never changes.

Two sources, kept next to this file: the OpenAPI documents of the Matrix specification (methods,
path templates, their examples) and the regexes of Synapse's table of worker endpoints, from which
sample paths are made. Knows nothing of proxies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as sre_parser  # type: ignore[attr-defined]
from typing import Any
from urllib.parse import quote

DATA = Path(__file__).parent / "data"
SPECIFICATION = DATA / "matrix-spec-endpoints.json"
WORKER_TABLE = DATA / "synapse-worker-endpoints.json"

PLACEHOLDER = re.compile(r"\{([^}]*)\}")
SAMPLES_PER_REGEX = 6

# What the specification gives no example for.
EXAMPLES = {
    "serverName": "example.org",
    "mediaId": "ascERGshawAWawugaAcauga",
    "roomId": "!726s6s6q:example.com",
    "eventId": "$h29iv0s8:example.com",
    "relType": "m.thread",
}

# Values that a proxy may trip over, as a client may send them.
AWKWARD_VALUES = (
    "!t2OgjxfyRzHlyGT2vRTXFAfRnz9DzSSbRGqXaKh8Dm0",  # room version 12: no domain
    "a%2Fb",
    "%2F..%2Fsync",
    "caf%C3%A9%20%2B+%25",
    ";a=1;b",
    "@%61lice%3Aexample.com",
    "media",
    "sync",
    "",
    "..",
    "%2e%2E",
    ".",
    "$143273582443PhrSn:[2001:db8::1]:8448",
    "a%3Fsince=1",
    "x" * 2000,
    "%23room%3Aexample.org",
    "~!$&'()*,:@-_",
    "%0A%09",
    '"<>^`{|}\\',
)

# What stands for ``.*`` and ``[^/]+`` in a regex.
WORDS = ("a", "!r%3Aexample.org", "@u:example.org", "media", "x/y", "%2F", "", "$e/..")
SEGMENTS = ("a", "!r%3Aexample.org", "@u:example.org", "media", "%2F", "x%2Fy", "..%2F", "$e")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint: its method, a plain path, and the same path with awkward values."""

    name: str
    method: str
    path: str
    awkward: tuple[str, ...] = ()


def endpoints() -> list[Endpoint]:
    """All of both sources."""
    return [*_specified(), *_worker_table()]


def _specified() -> Iterator[Endpoint]:
    turn = 0
    for row in json.loads(SPECIFICATION.read_text()):
        template = row["path"].strip()  # the specification's /events has a space at its end
        examples = {**EXAMPLES, **row["examples"]}
        names = PLACEHOLDER.findall(template)
        awkward = []
        if names:
            awkward.append(_fill(template, {n: quote(str(examples[n]), safe="") for n in names}))
            for _ in range(6):
                value = AWKWARD_VALUES[turn % len(AWKWARD_VALUES)]
                awkward.append(_fill(template, {**examples, names[turn % len(names)]: value}))
                turn += 1
        path = _fill(template, {n: quote(str(v), safe="!$&'()*,:@~+") for n, v in examples.items()})
        yield Endpoint(f"{row['method']} {template}", row["method"], path, tuple(awkward))


def _fill(template: str, values: dict[str, str]) -> str:
    return PLACEHOLDER.sub(lambda found: str(values[found[1]]), template)


def _worker_table() -> Iterator[Endpoint]:
    for row in json.loads(WORKER_TABLE.read_text()):
        paths = list(samples(row["regex"], SAMPLES_PER_REGEX))
        methods = ["GET", "PUT"] if row["methods"] == ["*"] else row["methods"]
        for method in methods:
            yield Endpoint(f"{method} {row['id']}", method, paths[0], tuple(paths[1:]))


def samples(regex: str, count: int) -> Iterator[str]:
    """Up to ``count`` different strings that the regex finds a match in, from its beginning on.

    Deterministic: sample ``n`` takes alternative ``n`` (modulo their number) of every choice.
    What is not anchored at its end gets a tail.
    """
    tree = sre_parser.parse(regex)
    seen: set[str] = set()
    for number in range(count * 3):
        path = _sample(tree, number)
        tailed = path + ("", "x", "/", "/x")[number % 4]
        if re.search(regex, tailed):
            path = tailed
        if path not in seen and len(seen) < count:
            if not re.search(regex, path):
                raise ValueError(f"{path} is no sample of {regex}")
            seen.add(path)
            yield path


def _sample(tree: Any, number: int) -> str:
    return "".join(_piece(code, argument, number) for code, argument in tree)


def _piece(code: Any, argument: Any, number: int) -> str:
    if code is sre.LITERAL:
        return chr(argument)
    if code is sre.AT:
        return ""
    if code is sre.SUBPATTERN:
        return _sample(argument[-1], number)
    if code is sre.BRANCH:
        alternatives = argument[1]
        return _sample(alternatives[number % len(alternatives)], number)
    if code in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        least, most, inner = argument
        if most is sre.MAXREPEAT:
            return _word(inner[0], least, number)
        times: int = least + number % (most - least + 1)
        return _sample(inner, number) * times
    if code is sre.IN:
        kind, first = argument[0]
        assert kind is sre.LITERAL, argument
        return chr(first)
    if code is sre.ANY:
        return "."
    raise ValueError(f"a regex with {code} needs a rule here")


def _word(inner: tuple[Any, Any], least: int, number: int) -> str:
    """One of the words for ``.*``, ``.+``, ``[^/]*`` and ``[^/]+``."""
    words: tuple[str, ...] = WORDS if inner[0] is sre.ANY else SEGMENTS
    word: str = words[number % len(words)]
    return word if len(word) >= least else "a"
