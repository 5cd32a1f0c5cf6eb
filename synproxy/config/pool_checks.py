"""What pools say about each other, and settings of a pool that make no sense together.

Part of ``references``: works on the tree as written, and leaves wrong types to the model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from synproxy.config.document import Document, Path
from synproxy.config.wording import did_you_mean, quoted

_TARGET = re.compile(r"/[!-~]*")  # what a request line can carry


def check_pools(document: Document, pools: Mapping[str, object]) -> None:
    """Report every mistake of this kind."""
    known = {name: pool for name, pool in pools.items() if isinstance(pool, dict)}
    for name, pool in known.items():
        path: Path = ("pools", name)
        _check_other(document, path, pool, pools, "fallback")
        _check_other(document, path, pool, pools, "unrecognized")
        _check_queue(document, path, pool)
        _check_target(document, path, pool)
    _check_chains(document, known)


def _check_other(
    document: Document,
    path: Path,
    pool: Mapping[str, object],
    pools: Mapping[str, object],
    field: str,
) -> None:
    other = pool.get(field)
    if not isinstance(other, str):
        return
    place = (*path, field)
    if other not in pools:
        message = f"{field}: no pool is named {quoted(other)}"
        document.at_value(place, message, did_you_mean(other, pools))
    elif field == "unrecognized" and other == path[-1]:
        document.at_value(place, "unrecognized: a pool cannot be asked again about itself")


def _check_chains(document: Document, pools: Mapping[str, Mapping[str, object]]) -> None:
    """Whoever follows the fallbacks of a pool must come to an end."""
    following = {name: pool.get("fallback") for name, pool in pools.items()}
    for name in following:
        chain = [name]
        step = following[name]
        while isinstance(step, str) and step in following and step not in chain:
            chain.append(step)
            step = following[step]
        if step == name:
            way = " -> ".join((*chain, name))
            message = f"fallback: the pool {quoted(name)} would fall back to itself"
            document.at_value(("pools", name, "fallback"), message, way)


def _check_queue(document: Document, path: Path, pool: Mapping[str, object]) -> None:
    servers = pool.get("servers")
    if pool.get("queue") in (None, False, "off") or not isinstance(servers, list):
        return
    if not any(isinstance(server, dict) and "max_conns" in server for server in servers):
        message = 'queue: no server of this pool has "max_conns", so no request would ever wait'
        hint = "write a server as {address: ..., max_conns: ...}"
        document.at_key((*path, "queue"), message, hint)


def _check_target(document: Document, path: Path, pool: Mapping[str, object]) -> None:
    check = pool.get("health_check")
    target = check.get("path") if isinstance(check, dict) else None
    if isinstance(target, str) and not _TARGET.fullmatch(target):
        message = f"path: expected a path such as /health, got {quoted(target)}"
        document.at_value((*path, "health_check", "path"), message)
