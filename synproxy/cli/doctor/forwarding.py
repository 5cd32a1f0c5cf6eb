"""What Synapse would be sent, judged from the configuration alone: addresses, and closed paths."""

from __future__ import annotations

from collections.abc import Iterator

from synproxy.cli.doctor.finding import Finding, Status, fail, ok
from synproxy.cli.doctor.routing import SOMEBODY, way_of
from synproxy.explain.offline import Offline, imagine

_CLAIMED = "198.51.100.66"  # TEST-NET-2, RFC 5737: what a liar writes into its own request
_SET = "in set_header of the proxy section: "

INTERNAL = ("/_synapse/mas/query_user", "/_synapse/replication/x", "/_synapse/metrics", "/metrics")
ADMIN = ("/_synapse/admin/v1/server_version", "/_synapse/%61dmin/v1/server_version")


def check_headers(offline: Offline) -> Iterator[Finding]:
    """One X-Forwarded-For that the client cannot choose, X-Forwarded-Proto and Host, per route.

    Synapse believes the first address in X-Forwarded-For; without the field, registration over
    a UNIX socket fails with 500 (synapse/http/site.py).
    """
    routes = [route for route in offline.generation.routes if route.route.pool is not None]
    mistakes: dict[tuple[Status, str, str], list[str]] = {}
    for route in routes:
        for mistake in _mistakes(_head(offline, route.name)):
            mistakes.setdefault(mistake, []).append(route.name)
    for (status, reason, remedy), names in mistakes.items():
        subject = f"route {', '.join(names)}" if len(names) < len(routes) else "every route"
        yield Finding("headers", status, subject, reason, remedy)
    if routes and not mistakes:
        yield ok("headers", "every route", "sets X-Forwarded-For, X-Forwarded-Proto and Host")


def _head(offline: Offline, name: str) -> dict[str, list[str]]:
    """The fields that a server gets by a route, by lower-case name."""
    claims = [
        (b"Host", b"matrix.example.org"),
        (b"X-Forwarded-For", _CLAIMED.encode()),
        (b"X-Forwarded-Proto", b"gopher"),
    ]
    request = imagine("GET", "/", claims, SOMEBODY)
    route = next(route for route in offline.generation.routes if route.name == name)
    fields: dict[str, list[str]] = {}
    for field, value in offline.upstream_head(route, request):
        fields.setdefault(field.decode().lower(), []).append(value.decode())
    return fields


def _mistakes(fields: dict[str, list[str]]) -> Iterator[tuple[Status, str, str]]:
    addresses = fields.get("x-forwarded-for", [])
    if not addresses:
        yield (
            Status.FAIL,
            "X-Forwarded-For is removed: Synapse sees no client address, and registration over"
            " a UNIX socket fails with 500",
            f"{_SET}X-Forwarded-For: $remote_addr",
        )
    elif any(_CLAIMED in value for value in addresses):
        yield (
            Status.WARN,
            "X-Forwarded-For holds what the client claims, and Synapse believes the first address"
            " in it: right only behind a proxy that always sets it",
            f"{_SET}X-Forwarded-For: $remote_addr",
        )
    elif addresses != [SOMEBODY]:
        yield (
            Status.WARN,
            f"X-Forwarded-For is {', '.join(addresses)} instead of the client's address",
            f"{_SET}X-Forwarded-For: $remote_addr",
        )
    schemes = fields.get("x-forwarded-proto", [])
    if schemes not in (["http"], ["https"]):
        found = ", ".join(schemes).replace("gopher", "what the client claims") or "removed"
        yield (
            Status.WARN,
            f"X-Forwarded-Proto is {found}: Synapse builds wrong links, or warns and assumes https",
            f"{_SET}X-Forwarded-Proto: $scheme, or https if TLS ends in front",
        )
    if len(fields.get("host", [])) != 1:
        yield Status.FAIL, "Host is removed: no valid HTTP/1.1", f"{_SET}Host: $host"


def check_closed(offline: Offline) -> Finding:
    """Whether strangers are kept from what administers Synapse."""
    internal = [target for target in INTERNAL if way_of(offline, "GET", target).forwarded]
    admin = [target for target in ADMIN if way_of(offline, "GET", target).forwarded]
    remedy = "a route for these paths with an allowlist, as in config/synapse-workers.yaml"
    if internal:
        return fail("closed", "", f"open to everybody: {', '.join(internal + admin)}", remedy)
    if admin:
        return Finding(
            "closed", Status.WARN, "", f"the admin API is open to everybody: {admin[0]}", remedy
        )
    return ok("closed", "", "admin API, MAS, replication and metrics are closed to strangers")
