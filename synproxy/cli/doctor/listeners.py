"""Our own addresses: can they be bound, or who has them?

Binds for a moment, as ``synproxy run`` would, and listens nowhere.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path

from synproxy.cli.doctor.asking import reason_of
from synproxy.cli.doctor.finding import Finding, fail, ok, warn
from synproxy.cli.doctor.holders import Holders, Process
from synproxy.cli.doctor.identity import Identity
from synproxy.cli.doctor.permissions import describe
from synproxy.config.addresses import TcpAddress, UnixAddress, parse_listen
from synproxy.config.model import Config, Listener
from synproxy.runtime.listeners import bind_tcp

_REPLACED = {"nginx", "haproxy", "caddy", "apache2", "httpd", "traefik", "envoy"}
"""Programs whose place synproxy takes: until the switch they may have the address."""


def check_listeners(config: Config, holders: Holders, identity: Identity) -> list[Finding]:
    return [_check(listener, holders, identity) for listener in config.listeners]


def serving_process(config: Config, holders: Holders) -> Process | None:
    """The synproxy that listens on one of the configuration's addresses."""
    for listener in config.listeners:
        for process in holders.holders(parse_listen(listener.listen)):
            if process.is_synproxy:
                return process
    return None


def _check(listener: Listener, holders: Holders, identity: Identity) -> Finding:
    address = parse_listen(listener.listen)
    if isinstance(address, UnixAddress):
        return _check_unix(listener, address, holders, identity)
    try:
        bind_tcp(address, listener.ipv6only).close()
    except OSError as error:
        return _tcp_failure(listener.listen, address, error, holders)
    return ok("listener", listener.listen, "free, and can be bound")


def _tcp_failure(name: str, address: TcpAddress, error: OSError, holders: Holders) -> Finding:
    if error.errno == errno.EADDRINUSE:
        return _in_use(name, holders.holders(address))
    if error.errno == errno.EACCES:
        return fail(
            "listener",
            name,
            f"ports below {_first_free_port()} are for root",
            "install systemd/synproxy.socket, which opens the port for the service",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return fail(
            "listener",
            name,
            "this machine has no such address",
            "correct the address, or listen on all of them",
        )
    return fail("listener", name, reason_of(error), "correct the address")


def _in_use(name: str, found: Sequence[Process]) -> Finding:
    if not found:
        return warn(
            "listener",
            name,
            "in use by a process of another user",
            "run this as root to see which",
        )
    holder = found[0]
    if holder.is_synproxy:
        return ok("listener", name, f"served by {holder}")
    if holder.is_systemd:
        return ok("listener", name, f"held by {holder} for the service of a .socket unit")
    if holder.name in _REPLACED:
        return warn(
            "listener",
            name,
            f"in use by {holder}",
            f"for the switch: systemctl disable --now {holder.name}, then start synproxy",
        )
    return fail(
        "listener",
        name,
        f"in use by {holder}, so synproxy cannot start",
        "end that program, or listen on another address",
    )


def _first_free_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except OSError:
        return 1024


def _check_unix(
    listener: Listener, address: UnixAddress, holders: Holders, identity: Identity
) -> Finding:
    name, path = listener.listen, Path(address.path)
    try:
        status = path.stat()
    except FileNotFoundError:
        return _place_for(name, path, identity)
    except OSError as error:
        return fail("listener", name, reason_of(error), f"see ls -ld {path.parent}")
    if not stat.S_ISSOCK(status.st_mode):
        return fail(
            "listener",
            name,
            f"a file that is no socket is in the way ({describe(path)})",
            f"look at it, and move it away: mv {path} {path}.old",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(address.path)
        except ConnectionRefusedError:
            return _place_for(name, path, identity)
        except OSError as error:
            return warn(
                "listener",
                name,
                f"{identity.name} cannot connect: {reason_of(error)} ({describe(path)})",
                "whoever connects needs write permission on it: 'mode:' of the listener, or"
                " SocketMode= in synproxy.socket",
            )
    found = _in_use(name, holders.holders(address))
    if found.status == "ok" and stat.S_IMODE(status.st_mode) != int(listener.mode, 8):
        return warn(
            "listener",
            name,
            f"{found.reason}, but {describe(path)} instead of mode {listener.mode}",
            f"SocketMode={listener.mode} in synproxy.socket, or chmod {listener.mode} {path}",
        )
    return found


def _place_for(name: str, path: Path, identity: Identity) -> Finding:
    parent = path.parent
    if not parent.is_dir():
        return fail(
            "listener",
            name,
            f"there is no directory {parent}",
            f"mkdir {parent}, or RuntimeDirectory= in the unit (systemd/synproxy.tmpfiles)",
        )
    if not os.access(parent, os.W_OK | os.X_OK, effective_ids=True):
        return fail(
            "listener",
            name,
            f"{identity.name} may not make files in {parent} ({describe(parent)})",
            f"chown {identity.name} {parent}, or RuntimeDirectory= in the unit",
        )
    return ok("listener", name, "free, and can be bound")
