"""Synapse's processes: can each be reached by this user, is it healthy, which version is it?

Asks the servers themselves, not the proxy.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from synproxy.cli.doctor.asking import NoReplyError, Reply, ask, connect, reason_of
from synproxy.cli.doctor.finding import Finding, fail, ok, skip, warn
from synproxy.cli.doctor.identity import Identity
from synproxy.cli.doctor.permissions import describe, find_denial
from synproxy.config.model import Config, Pool

_HEALTH = "/health"  # every http listener of Synapse has it (synapse/rest/health.py)
_VERSION = re.compile(r"Synapse/(\S+)")


@dataclass(frozen=True, slots=True)
class Server:
    """What is known about one server after it was asked."""

    address: str
    socket: Finding
    health: Finding | None = None
    """None if it was not asked, because it cannot be reached."""
    reply: Reply | None = None
    """Its answer to the health check, if it gave one."""

    @property
    def healthy(self) -> bool:
        return self.health is not None and self.health.status == "ok"

    @property
    def version(self) -> str:
        """Of Synapse; empty if it does not say."""
        found = _VERSION.match(self.reply.server) if self.reply is not None else None
        return found[1] if found is not None else ""


async def visit_servers(config: Config, identity: Identity, patience: float) -> dict[str, Server]:
    """Every server of every pool by its address, each visited once."""
    paths = {
        server.address: pool.health_check.path if pool.health_check is not None else _HEALTH
        for pool in config.pools.values()
        for server in pool.servers
        if not server.down
    }
    visited = await asyncio.gather(
        *(_visit(address, path, identity, patience) for address, path in paths.items())
    )
    return {server.address: server for server in visited}


async def _visit(address: str, path: str, identity: Identity, patience: float) -> Server:
    socket = await _check_socket(address, identity, patience)
    if socket.status == "fail":
        return Server(address, socket)
    try:
        reply = await ask(address, path, patience)
    except NoReplyError as error:
        unhealthy = fail("health", address, f"GET {path}: {error}", "see the log of this process")
        return Server(address, socket, unhealthy)
    answered = f"GET {path}: {reply.status}"
    if 200 <= reply.status < 400:  # as the health checks of a pool judge
        return Server(address, socket, ok("health", address, answered), reply)
    unhealthy = fail(
        "health",
        address,
        f"{answered}{f' from {reply.server}' if reply.server else ''}",
        "every http listener of Synapse answers 200: see what listens there, and its log",
    )
    return Server(address, socket, unhealthy, reply)


async def _check_socket(address: str, identity: Identity, patience: float) -> Finding:
    try:
        await connect(address, patience)
    except BlockingIOError:
        return fail("socket", address, "its queue of connections is full", _LOOK_AT_PROCESS)
    except TimeoutError:
        return fail("socket", address, f"not connected within {patience:g} s", _LOOK_AT_PROCESS)
    except OSError as error:
        if address.startswith("unix:"):
            return _unix_failure(address, error, identity)
        reason = reason_of(error)
        return fail("socket", address, reason, "start the process, or correct the address")
    if not address.startswith("unix:"):
        return ok("socket", address, "accepts connections")
    path = Path(address.removeprefix("unix:"))
    return ok("socket", address, f"{identity.name} can connect ({describe(path)})")


_LOOK_AT_PROCESS = "the process is stuck or too busy to accept: see its log"


def _unix_failure(address: str, error: OSError, identity: Identity) -> Finding:
    path = Path(address.removeprefix("unix:"))
    if isinstance(error, PermissionError):
        denial = find_denial(path, identity)
        return fail("socket", address, f"permission denied: {denial.reason}", denial.remedy)
    if isinstance(error, FileNotFoundError):
        return fail(
            "socket",
            address,
            f"no such file: {_beside(path)}",
            "start the worker, or correct the address: it is 'path:' in the worker's listener",
        )
    if isinstance(error, ConnectionRefusedError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return fail("socket", address, "a file that is no socket", "correct the address")
        return fail(
            "socket",
            address,
            "the socket is there, but its process has gone (connection refused)",
            "start the worker again",
        )
    return fail("socket", address, reason_of(error), "correct the address")


def _beside(path: Path) -> str:
    """What is there instead, to see a typing mistake at once."""
    if not path.parent.is_dir():
        return f"there is no directory {path.parent}"
    sockets = sorted(each.name for each in path.parent.iterdir() if each.is_socket())
    listed = ", ".join(sockets[:4]) + (", ..." if len(sockets) > 4 else "")
    return f"its directory has {listed or 'no sockets'}"


def check_pools(config: Config, servers: Mapping[str, Server]) -> Iterator[Finding]:
    """Whether each pool can serve."""
    for name, pool in config.pools.items():
        used = _used(pool, servers)
        healthy = sum(server.healthy for server in used)
        if healthy == len(used) and used:
            yield ok("pool", name, f"{_count(healthy)} answer{'s' if healthy == 1 else ''}")
        elif healthy:
            away = ", ".join(server.address for server in used if not server.healthy)
            yield warn(
                "pool",
                name,
                f"{healthy} of {_count(len(used))} answer; not {away}",
                "see the lines about these servers above",
            )
        elif (stand_in := _stand_in(config, servers, pool)) is not None:
            yield warn(
                "pool",
                name,
                f"no server answers: its requests go to pool {stand_in} (fallback)",
                "see the lines about its servers above",
            )
        else:
            yield fail(
                "pool",
                name,
                "no server answers: its requests fail with 502",
                "see the lines about its servers above",
            )


def _used(pool: Pool, servers: Mapping[str, Server]) -> list[Server]:
    return [servers[each.address] for each in pool.servers if not each.down]


def _stand_in(config: Config, servers: Mapping[str, Server], pool: Pool) -> str | None:
    """The first pool along the fallbacks that can serve."""
    name = pool.fallback
    while name is not None:
        pool = config.pools[name]
        if any(server.healthy for server in _used(pool, servers)):
            return name
        name = pool.fallback
    return None


def _count(number: int) -> str:
    return f"{number} server{'' if number == 1 else 's'}"


def check_versions(servers: Mapping[str, Server]) -> Finding:
    """Whether all processes of the homeserver are of one version."""
    by_version: dict[str, list[str]] = {}
    for server in servers.values():
        if server.version:
            by_version.setdefault(server.version, []).append(server.address)
    known = sum(map(len, by_version.values()))
    if not by_version:
        return skip("synapse", "", "no server says which version of Synapse it is")
    if len(by_version) == 1:
        return ok("synapse", "", f"Synapse {next(iter(by_version))} on {_count(known)}")
    newest = max(by_version, key=_comparable)
    behind = [a for version, those in by_version.items() if version != newest for a in those]
    return warn(
        "synapse",
        "",
        f"several versions of Synapse: {', '.join(sorted(by_version, key=_comparable))}",
        f"restart {', '.join(behind)}",
    )


def _comparable(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]
