"""Paths that a servlet takes: its regex with values that clients really send.

Knows the few constructs that Synapse's regexes have; anything else raises ValueError.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any
from urllib.parse import quote

_parser: Any = importlib.import_module("re._parser")  # as in core.regex_prefix

VALUES: Mapping[str, tuple[str, ...]] = {
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
"""Examples for the parameters of Synapse's servlets, decoded, by name: ids of old and new room
versions, and a localpart with a slash."""

_SEGMENT = ("x", "a.b-c")
_SIGILS = {
    "room_id": "!",
    "room_identifier": "[!#]",
    "room_alias": "#",
    "user_id": "@",
    "target_user_id": "@",
    "event_id": r"\$",
    "parent_id": r"\$",
    "thread_root_id": r"\$",
}
_PUSH_RULES = "pushrules(/global(/(override|underride|sender|room|content)(/[^/]+(/[a-z]+)?)?)?)?/?"
_PARAMETER = re.compile(r"\(\?P<(\w+)>\[\^/\]([*+])\)")


def template(regex: str) -> str:
    """A regex for people: ``^/a/(?P<user_id>[^/]*)$`` is ``/a/{user_id}``."""
    text = _PARAMETER.sub(r"{\1}", regex.replace("(?P<path>pushrules/.*)", "pushrules/..."))
    text = re.sub(r"\(\?P<(\w+)>[^()]*\)", r"{\1}", text)
    return text.removeprefix("^").removesuffix("$").replace("\\", "")


def realistic(regex: str) -> str:
    """The regex with its parameters as they are: a user begins with ``@``, nothing is empty."""
    regex = regex.replace("(?P<path>pushrules/.*)", _PUSH_RULES)
    regex = (
        regex if regex.endswith("$") else f"{regex}$"
    )  # Synapse would take more; nobody sends it
    return _PARAMETER.sub(lambda found: f"{_SIGILS.get(found[1], '')}[^/]+", regex)


@cache
def sample_paths(regex: str, limit: int = 24) -> tuple[str, ...]:
    """Different paths, as a client would encode them, that ``regex`` matches from their start.

    Every alternative of every choice is taken; the same paths on every call.
    """
    tree = _parser.parse(regex)
    groups = {number: name for name, number in tree.state.groupdict.items()}
    found: dict[str, None] = {}
    for path in _sequence(list(tree), groups):
        found.setdefault(path)
        if len(found) >= limit:
            break
    return tuple(found)


def _sequence(items: list[Any], groups: Mapping[int, str]) -> Iterator[str]:
    choices = [list(_item(str(code), argument, groups)) for code, argument in items]
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


def _item(code: str, argument: Any, groups: Mapping[int, str]) -> Iterator[str]:
    if code == "LITERAL":
        yield chr(argument)
    elif code == "AT":
        yield ""
    elif code == "BRANCH":
        for branch in argument[1]:
            yield from _sequence(list(branch), groups)
    elif code == "SUBPATTERN":
        yield from _parameter(groups.get(argument[0], ""), list(argument[3]), groups)
    elif code in ("MAX_REPEAT", "MIN_REPEAT"):
        least, most, inner = argument
        if most != 1:
            yield from _SEGMENT
            return
        if least == 0:
            yield ""
        yield from _sequence(list(inner), groups)
    elif code == "IN" and str(argument[0][0]) == "LITERAL":
        yield chr(argument[0][1])
    elif code == "ANY":
        yield "."  # which is what an unescaped dot is meant for
    else:
        raise ValueError(f"a regex with {code} needs a rule here")


def _parameter(name: str, inner: list[Any], groups: Mapping[int, str]) -> Iterator[str]:
    if not name or len(inner) != 1 or str(inner[0][0]) not in ("MAX_REPEAT", "MIN_REPEAT"):
        yield from _sequence(inner, groups)
        return
    least = inner[0][1][0]
    for value in VALUES.get(name, _SEGMENT):
        if len(value) >= least:
            yield quote(value, safe="")
