"""What is decided about one request, as data: route, access, pool, server, head, limits.

Must not decide anything itself, nor know how it is shown. No credential of the request gets in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from synproxy.config.model import Pool
from synproxy.core.allowlist import AccessVerdict
from synproxy.core.deadline import read_timeout
from synproxy.core.names import name_of
from synproxy.core.printable import show
from synproxy.core.redact import REDACTED
from synproxy.core.user_key import Source
from synproxy.explain.balance import balance_text, key_template
from synproxy.explain.offline import Offline, Request, preference
from synproxy.explain.secrets import Secrets
from synproxy.proxy.generation import CompiledRoute, PoolTarget


def explain(offline: Offline, request: Request) -> dict[str, Any]:
    """All that is decided for one request; ``answer`` is there if synproxy itself would answer."""
    secrets = Secrets(request)
    explained: dict[str, Any] = {
        "request": {
            "method": show(request.method),
            "host": show(request.host),
            "target": secrets.shown(request.target),
            "path": secrets.shown(request.path),
        }
    }
    if request.target == b"*":
        explained["answer"] = {"status": 204, "reason": "OPTIONS * is about the proxy itself"}
        return explained
    table = offline.generation.table
    match = table.match(request.path, request.method)
    trials = table.explain(request.path, request.method)
    explained["routes"] = [
        {"name": t.name, "location": t.location, "chosen": t.chosen, "reason": t.reason}
        for t in trials
        if t.matched or t.index < len(offline.config.routes)  # of the implied ones, what matters
    ]
    if match is None:
        explained["answer"] = _unrouted(table.methods(request.path))
        return explained
    request.captures = match.captures
    compiled = offline.generation.routes[match.index]
    route = compiled.route
    explained["route"] = {
        "name": route.name,
        "location": route.location,
        "methods": list(route.methods),
        "captures": {name: secrets.shown(value) for name, value in match.captures.items()},
    }
    explained["access"] = _access(offline, request, match.index)
    if not all(verdict["allowed"] for verdict in explained["access"]):
        explained["answer"] = {"status": 403, "reason": "an allowlist refuses the address"}
    if route.maintenance:
        explained.setdefault("answer", {"status": 503, "reason": "the route is under maintenance"})
        return explained
    if offline.generation.closed(compiled, request.path):
        reason = "maintenance is on, for all but /health and routes with allowlists"
        status = 204 if request.method == b"OPTIONS" else 503
        explained.setdefault("answer", {"status": status, "reason": reason})
        return explained
    if route.respond is not None:
        explained.setdefault(
            "answer", {"status": route.respond.status, "reason": "the route says so"}
        )
        return explained
    explained |= _upstream(offline, request, compiled, secrets)
    return explained


def _unrouted(methods: Sequence[bytes]) -> dict[str, Any]:
    if not methods:
        return {"status": 404, "reason": "no route matches"}
    names = b", ".join(methods).decode()
    return {"status": 405, "reason": f"routes for this path exist only with {names}"}


def _access(offline: Offline, request: Request, index: int) -> list[dict[str, Any]]:
    """The verdict of the route's allowlists, then those of routes another reader might choose."""
    raw_path = request.target.partition(b"?")[0]
    guards = offline.generation.guard.guards(raw_path, request.method)
    verdicts = []
    for number in (index, *guards):
        route = offline.routes[number]
        verdict = offline.access(number, request.remote_addr)
        verdicts.append(
            {
                "route": route.name,
                "guard": number != index,
                "allowlists": list(route.allowlists),
                "allowed": verdict.allowed,
                "decided_by": _rule(verdict),
            }
        )
    return verdicts


def _rule(verdict: AccessVerdict) -> str:
    if not verdict.list_name:
        return verdict.rule
    return f"rule {verdict.number} of {verdict.list_name}: {verdict.rule}"


def _upstream(
    offline: Offline, request: Request, route: CompiledRoute, secrets: Secrets
) -> dict[str, Any]:
    template = route.route.pool or ""
    target = route.choose(request)
    if target is None:
        name = show(offline.render(template, request))
        return {
            "maps": _maps(offline, request, [template], secrets),
            "answer": {"status": 502, "reason": f"there is no pool {name}"},
        }
    pool, settings = target.pool, route.settings
    key = b"" if target.key is None else target.key.render(request)
    written = key_template(pool.settings)
    return {
        "maps": _maps(offline, request, [template, written], secrets),
        "pool": {"name": pool.name, "written": template, "balance": balance_text(pool.settings)},
        "key": {"template": written, **_key(offline, request, written, key, secrets)},
        "servers": preference(pool, key),
        "drained": [
            server.address
            for index, server in enumerate(pool.settings.servers)
            if pool.balancer.drained(index)
        ],
        "names": [name for server in pool.settings.servers if (name := name_of(server))],
        "fallbacks": _fallbacks(target, request),
        "unrecognized": pool.settings.unrecognized,
        "limits": {
            "client_max_body_size": route.max_body,
            "connect_timeout": settings.connect_timeout,
            "send_timeout": settings.send_timeout,
            "read_timeout": read_timeout(
                request.method, request.target, settings.read_timeout, settings.deadline_margin
            ),
            "restart_hold": pool.settings.restart_hold,
            "queue": _queue(pool.settings),
            "next_upstream": list(settings.next_upstream),
            "next_upstream_tries": settings.next_upstream_tries,
        },
        "headers": [
            [show(field), _shown_field(field, value, secrets)]
            for field, value in offline.upstream_head(route, request)
        ],
    }


_USER_KINDS = {
    Source.TOKEN: "localpart",
    Source.HASH: "token",
    Source.ADDRESS: "address",
    Source.NOTHING: "empty",
}
"""Without a network: nobody is asked whose a token is."""


def _key(
    offline: Offline, request: Request, template: str, key: bytes, secrets: Secrets
) -> dict[str, str]:
    """The sticky key, what it is, and what will come of it if that cannot be known here."""
    if not template:
        return {"value": "", "kind": "none"}
    if template not in ("$synapse_user", "${synapse_user}"):
        value, kind = secrets.shown_key(key)
        return {"value": value, "kind": kind}
    key, source = offline.generation.users.resolve(request)
    found = {"value": show(key), "kind": _USER_KINDS[source]}
    if source is Source.HASH:
        pool = offline.config.synapse.whoami
        found["note"] = (
            f"it becomes the user once pool {pool} has said whose the token is"
            if pool is not None
            else "synapse.whoami can name a pool that knows the user"
        )
    return found


def _fallbacks(target: PoolTarget, request: Request) -> list[dict[str, Any]]:
    """The pools that would take over, one after the other."""
    chain = []
    while (following := target.fallback) is not None:
        target = following
        key = b"" if target.key is None else target.key.render(request)
        settings = target.pool.settings
        chain.append(
            {
                "name": target.pool.name,
                "balance": balance_text(settings),
                "servers": preference(target.pool, key),
            }
        )
    return chain


def _queue(pool: Pool) -> dict[str, float] | None:
    queue = pool.queue
    return None if queue is None else {"number": queue.number, "timeout": queue.timeout}


def _shown_field(name: bytes, value: bytes, secrets: Secrets) -> str:
    if name.lower() in (b"authorization", b"cookie"):
        return REDACTED
    return secrets.shown(value)


def _maps(
    offline: Offline, request: Request, templates: list[str], secrets: Secrets
) -> list[dict[str, str]]:
    """The maps that took part: what each was asked and what it said."""
    used = []
    for name, section in offline.maps_behind(templates, request):
        value, kind = secrets.shown_key(offline.render(f"${{{name}}}", request))
        asked = secrets.shown(offline.render(section.source, request))
        used.append(
            {"name": name, "value": value, "kind": kind, "source": section.source, "input": asked}
        )
    return used
