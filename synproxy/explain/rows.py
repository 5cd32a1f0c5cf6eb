"""An explanation as labels and texts, for a terminal and for a page.

Must not decide anything; it words what `explain` found.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def rows(explanation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Labels and texts; a label that is empty continues the one above."""
    sender = explanation["from"]["address"]
    if explanation["from"]["assumed"]:
        sender += " (an address from the documentation range; --from gives another)"
    elif told := explanation["from"].get("told"):
        sender += f" ({told})"
    if "request" in explanation:
        request = explanation["request"]
        yield "request", f"{request['method']} {request['target']}"
        yield "", "this target is forwarded as it is, byte for byte"
        yield "path", f"{request['path']} (normalised, for routes and allowlists)"
        yield "host", request["host"]
    yield "from", sender
    if "route" in explanation:
        yield from _route(explanation)
    if "answer" in explanation:
        answer = explanation["answer"]
        yield "answer", f"{answer['status']} by synproxy: {answer['reason']}"
    elif "pool" in explanation:
        yield from _upstream(explanation)
    if "route" not in explanation and "routes" in explanation:
        yield from _labelled("tried", [_trial(trial) for trial in explanation["routes"]])


def _route(explanation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    route = explanation["route"]
    methods = f" ({', '.join(route['methods'])})" if route["methods"] else ""
    yield "route", f"{route['name']}{methods}: location {route['location']}"
    for name, value in route["captures"].items():
        yield "", f"captured {name} = {value}"
    earlier = []
    for trial in explanation["routes"]:
        if trial["chosen"]:
            break
        beaten = trial["reason"].startswith("matched, but ")
        earlier.append(
            f"{trial['name']}: matched, but {route['name']} won" if beaten else _trial(trial)
        )
    yield from _labelled("before", earlier)
    for verdict in explanation["access"]:
        says = "allowed" if verdict["allowed"] else "denied"
        by = f" by {verdict['decided_by']}" if verdict["decided_by"] else ""
        if not verdict["allowlists"]:
            by = " (the route has no allowlist)"
        elif not by:
            by = f" (no rule of {', '.join(verdict['allowlists'])} matches)"
        guard = f", for route {verdict['route']}: a server may read the path so"
        yield "access", f"{says}{by}{guard if verdict['guard'] else ''}"


def _trial(trial: dict[str, Any]) -> str:
    return f"{trial['name']}: {trial['reason']}"


def _upstream(explanation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for used in explanation["maps"]:
        because = f"because {used['source']} = {used['input']!r}"
        yield "map", f"${used['name']} = {_value(used['value'], used['kind'])} {because}"
    pool, key = explanation["pool"], explanation["key"]
    yield "pool", f"{pool['name']}, {pool['balance']}"
    if key["template"]:
        turns = ", so the servers take turns" if key["kind"] == "empty" else ""
        yield "key", f"{key['template']} = {_value(key['value'], key['kind'])}{turns}"
        if "note" in key:
            yield "", key["note"]
    servers = explanation["servers"]
    yield from _labelled(
        "servers", [f"{'>' if n == 0 else ' '} {s}" for n, s in enumerate(servers)]
    )
    yield from _labelled("drained", explanation["drained"])
    if explanation.get("names"):
        names = ", ".join(explanation["names"])
        yield "names", f"{names}: DNS says which servers that are; `synproxy doctor` asks it"
    yield from _labelled(
        "fallback",
        [
            f"{pool['name']}, {pool['balance']}: {', '.join(pool['servers'])}"
            for pool in explanation["fallbacks"]
        ],
    )
    limits = explanation["limits"]
    size = limits["client_max_body_size"]
    yield "limits", f"request body {_size(size) if size else 'of any size'}"
    yield (
        "",
        f"connect {limits['connect_timeout']:g} s, send {limits['send_timeout']:g} s,"
        f" read {limits['read_timeout']:g} s",
    )
    tries = limits["next_upstream_tries"]
    yield (
        "",
        f"next server on {', '.join(limits['next_upstream']) or 'nothing'}"
        f"{f', {tries} tries' if tries else ''}",
    )
    if limits["restart_hold"]:
        yield "", f"waits up to {limits['restart_hold']:g} s for a server that restarts"
    if limits["queue"] is not None:
        queue = limits["queue"]
        yield "", f"waits up to {queue['timeout']:g} s for a place, one of {queue['number']}"
    if explanation["unrecognized"] is not None:
        yield "", f"M_UNRECOGNIZED: asks {explanation['unrecognized']} once more"
    yield from _labelled("headers", [f"{name}: {value}" for name, value in explanation["headers"]])


def _value(value: str, kind: str) -> str:
    """A value with a word on what it is, where it is not what stands in the request."""
    if kind == "localpart":
        return f"{value!r} (the user, read from the token)"
    if kind == "token":
        return f"{value!r} (a hash of the token, which does not name its user)"
    if kind == "address":
        return f"{value!r} (the client's address, for there is no token)"
    if kind == "hash":
        return f"a token, not shown (SHA-256 {value}...)"
    return repr(value)


def _labelled(label: str, texts: list[str]) -> Iterator[tuple[str, str]]:
    for number, text in enumerate(texts):
        yield label if number == 0 else "", text


def _size(size: int) -> str:
    for unit, factor in (("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10)):
        if size % factor == 0:
            return f"up to {size // factor}{unit}"
    return f"up to {size} bytes"
