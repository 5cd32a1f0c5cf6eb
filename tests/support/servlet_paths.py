"""Paths that a servlet of Synapse takes: its regex with values that clients really send.

Knows Synapse's regexes, which are few constructs; anything else raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import product
from typing import Any
from urllib.parse import quote

from tests.support.paths import SHARED

_parser: Any = import_module("re._parser")
_names: Any = import_module("re._constants")

VALUES: dict[str, tuple[str, ...]] = {
    "room_id": ("!abc:example.org", "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"),
    "room_identifier": ("#room:example.org", "!abc:example.org"),
    "room_alias": ("#room:example.org",),
    "user_id": ("@alice:example.org", "@a/b:example.org"),
    "target_user_id": ("@alice:example.org",),
    "event_id": ("$1a2b3c:example.org", "$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg"),
    "parent_id": ("$1a2b3c:example.org",),
    "thread_root_id": ("$1a2b3c:example.org",),
    "event_type": ("m.room.message", "org.example.media"),
    "state_key": ("", "@alice:example.org", "media"),
    "txn_id": ("m1234.5", "tags1"),
    "membership_action": ("join", "invite", "leave", "ban", "unban", "kick"),
    "path": ("pushrules/global/override/x", "pushrules/"),
    "server_name": ("example.com",),
    "media_id": ("GCmhgzMPRjqgpODLsNQzVuHZ",),
    "device_id": ("GHTYAJCE",),
    "stagetype": ("m.login.recaptcha",),
    "medium": ("email",),
}
SEGMENT = ("x", "a.b-c")


@cache
def sample_paths(regex: str, limit: int = 24) -> tuple[str, ...]:
    """Different paths, as a client would encode them, that ``regex`` matches from their start.

    All alternatives of a choice are taken in turn; equal on every call.
    """
    tree = _parser.parse(regex)
    groups = {number: name for name, number in tree.state.groupdict.items()}
    found: dict[str, None] = {}
    for pieces in _sequence(list(tree), groups):
        path = pieces or "/"
        assert re.match(regex, path), (regex, path)
        found.setdefault(path)
        if len(found) >= limit:
            break
    return tuple(found)


def _sequence(items: list[Any], groups: dict[int, str]) -> Iterator[str]:
    choices = [list(_item(code, argument, groups)) for code, argument in items]
    longest = max((len(choice) for choice in choices), default=1)
    seen = set()
    for number in range(longest):  # first every choice of each item, then all combinations
        path = "".join(choice[number % len(choice)] for choice in choices)
        if path not in seen:
            seen.add(path)
            yield path
    for chosen in product(*choices):
        if (path := "".join(chosen)) not in seen:
            seen.add(path)
            yield path


def _item(code: Any, argument: Any, groups: dict[int, str]) -> Iterator[str]:
    if code is _names.LITERAL:
        yield chr(argument)
    elif code is _names.AT:
        yield ""
    elif code is _names.BRANCH:
        for branch in argument[1]:
            yield from _sequence(list(branch), groups)
    elif code is _names.SUBPATTERN:
        name = groups.get(argument[0], "")
        inner = list(argument[3])
        if name and len(inner) == 1 and inner[0][0] in (_names.MAX_REPEAT, _names.MIN_REPEAT):
            least = inner[0][1][0]
            for value in VALUES.get(name, SEGMENT):
                if len(value) >= least:
                    yield value if name == "path" else quote(value, safe="")
        else:
            yield from _sequence(inner, groups)
    elif code in (_names.MAX_REPEAT, _names.MIN_REPEAT):
        least, most, inner = argument
        if most == 1:
            if least == 0:
                yield ""
            yield from _sequence(list(inner), groups)
        else:
            yield from SEGMENT
    elif code is _names.IN:
        kind, first = argument[0]
        assert kind is _names.LITERAL, argument
        yield chr(first)
    elif code is _names.ANY:
        yield "x"
    else:
        raise ValueError(f"a regex with {code} needs a rule here")


@cache
def specification_paths() -> tuple[tuple[str, str], ...]:
    """(method, encoded path) of the Matrix specification with its example parameters."""
    found = []
    for entry in json.loads((SHARED / "data/matrix-spec-corpus.json").read_text()):
        template = entry["path"].strip()
        values = {
            name: quote(str(entry["path_examples"].get(name) or "x"), safe="")
            for name in re.findall(r"{([^}]*)}", template)
        }
        found.append((entry["method"], template.format_map(values)))
    return tuple(found)
