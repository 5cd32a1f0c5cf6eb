"""Rules about what is written and has no effect, and about what is open that should be closed."""

from __future__ import annotations

from collections.abc import Iterator

from synproxy.config.model import HashBalance
from synproxy.config.variable_names import variable_names_in
from synproxy.lint.finding import Finding, Severity
from synproxy.lint.subject import Subject

_CLOSED = (
    # path, severity, what stands there
    ("/_synapse/replication/x", Severity.ERROR, "replication between Synapse's processes"),
    ("/_synapse/metrics", Severity.ERROR, "Synapse's metrics"),
    ("/_synapse/admin/v1/server_version", Severity.WARNING, "the admin API"),
    ("/_synapse/admin/v2/users/x", Severity.WARNING, "the admin API"),
    ("/_synapse/mas/query_user", Severity.WARNING, "what only MAS should ask"),
)


def unused_names(subject: Subject) -> Iterator[Finding]:
    """``unused``: pools, maps and allowlists that nothing leads to."""
    config = subject.config
    pools = {pool for index in range(len(subject.routes)) for pool in subject.pools_of(index)}
    for name in list(pools):
        while (follower := config.pools[name].fallback) and follower not in pools:
            pools.add(follower)
            name = follower
    pools |= {pool.unrecognized for pool in config.pools.values() if pool.unrecognized}
    pools |= {config.synapse.whoami} if config.synapse.whoami else set()
    for section, names, used in (
        ("pools", config.pools, pools),
        ("maps", config.maps, _used_maps(subject)),
        ("allowlists", config.allowlists, {n for r in config.routes for n in r.allowlists}),
    ):
        for name in names:
            if name not in used and (section, name) in subject.document.places:
                yield subject.finding(
                    "unused",
                    Severity.WARNING,
                    (section, name),
                    f'nothing uses "{name}"',
                    "it has no effect; a name may be misspelt where it is meant",
                    "remove it, or use it",
                    at_key=True,
                )


def _used_maps(subject: Subject) -> set[str]:
    config = subject.config
    waiting = [route.pool for route in config.routes if route.pool]
    waiting += [*config.proxy.set_header.values()]
    for route in config.routes:
        waiting += (route.proxy.set_header or {}).values()
    for pool in config.pools.values():
        if isinstance(pool.balance, HashBalance):
            waiting.append(pool.balance.hash)
    used: set[str] = set()
    while waiting:
        for name in variable_names_in(waiting.pop()):
            if name in config.maps and name not in used:
                used.add(name)
                section = config.maps[name]
                waiting += [section.source, section.default, *section.values.values()]
    return used


def dead_keepalive(subject: Subject) -> Iterator[Finding]:
    """``keepalive``: idle connections are to be kept, and every request asks to close its own."""
    config = subject.config
    fields = {name.lower(): value for name, value in config.proxy.set_header.items()}
    text = fields.get("connection", "")
    names = variable_names_in(text)
    closes = text.lower() == "close"
    path: tuple[str | int, ...] = ("proxy", "set_header", "Connection")
    if len(names) == 1 and names[0] in config.maps:
        section = config.maps[names[0]]
        usual = section.values.get("", section.default)
        if section.source == "$http_upgrade" and usual.lower() == "close":
            closes, path = True, ("maps", names[0], "values", "")
    if closes and any(pool.keepalive for pool in config.pools.values()):
        yield subject.finding(
            "keepalive",
            Severity.WARNING,
            path,
            "every request tells its server to close the connection",
            "keepalive has no effect: each request opens a new connection to its worker",
            'use an empty value in place of "close"',
        )


def open_doors(subject: Subject) -> Iterator[Finding]:
    """``open``: what administers Synapse can be asked by everybody."""
    seen = set()
    for path, severity, what in _CLOSED:
        index = subject.route_of("GET", path)
        if index is None or not subject.pools_of(index) or subject.routes[index].allowlists:
            continue
        if (index, what) in seen:
            continue
        seen.add((index, what))
        route = subject.routes[index]
        yield subject.finding(
            "open",
            severity,
            ("routes", index, "location"),
            f'route "{route.name}" lets everybody ask {what}',
            "a token or a secret is all that protects it; Synapse's documentation says to close it",
            "write a route for it before this one, with an allowlist: "
            "'~ ^/_synapse/(admin|mas|replication|metrics)(/|$)'",
            [f"GET {path}"],
        )
