"""Everything at a glance, as data: what the status page, ``synproxy status`` and ``top`` show.

Must not know how it is shown.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any, Final

from synproxy import __version__
from synproxy.admin.history import INTERVAL, MINUTE, NOTHING, Tally, total
from synproxy.config.addresses import short_name
from synproxy.core.health import Status
from synproxy.explain.balance import balance_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from synproxy.admin.history import History, Span
    from synproxy.admin.totals import Totals
    from synproxy.config.model import Config, Pool, Server

_STATES: Final = {Status.UP: "up", Status.RESTARTING: "restarting", Status.DOWN: "down"}
_SHOWN_ERRORS: Final = 15
_FEW: Final = 5
"""So few errors in a minute are none to speak of."""
_LEVELS: Final = ("good", "notice", "warning", "critical")


def overview(
    config: Config, facts: Mapping[str, Any], totals: Totals, history: History
) -> dict[str, Any]:
    """The state of everything. Rates are of the last seconds, quantiles (in seconds), errors and
    shares of the last minute."""
    return _Overview(config, facts, totals, history).made()


class _Overview:
    def __init__(
        self, config: Config, facts: Mapping[str, Any], totals: Totals, history: History
    ) -> None:
        self._config = config
        self._facts = facts
        self._totals = totals
        self._history = history
        self._short = history.span(INTERVAL)
        self._minute = history.span(MINUTE)

    def made(self) -> dict[str, Any]:
        now = self._totals.now
        facts = self._facts
        pools = [self._pool(name, pool) for name, pool in self._config.pools.items()]
        minute = total(self._minute.flows.values())
        shown: dict[str, Any] = {
            "version": __version__,
            "host": socket.gethostname(),
            "time": time.time(),
            **facts,
            "counting": self._config.admin is not None,
            "seconds": round(self._minute.seconds, 1),
            "traffic": {
                "rate": self._rate(total(self._short.flows.values())),
                **_measured(minute),
                "trend": [[round(all_, 2), round(bad, 2)] for all_, bad in self._history.trend],
                "trend_interval": INTERVAL,
            },
            "connections": {key[0]: n for key, n in now.get("connections", {}).items()},
            "in_flight": sum(now.get("in_flight", {}).values()),
            "polls": sum(now.get("polls", {}).values()),
            "routes": self._routes(),
            "flows": [
                {"route": route, "pool": pool, "rate": rate}
                for (route, pool), tally in self._short.flows.items()
                if (rate := self._rate(tally))
            ],
            "pools": pools,
            "errors": {fault: grouped(errors) for fault, errors in self._totals.errors.items()},
        }
        notes = [
            *self._process_notes(),
            *self._traffic_notes(minute),
            *_pool_notes(pools, self._config.pools),
        ]
        notes.sort(key=lambda note: -_LEVELS.index(note["level"]))
        shown["notes"] = notes
        shown["level"] = notes[0]["level"] if notes else "good"
        return shown

    def _rate(self, tally: Tally) -> float:
        return round(self._short.per_second(tally.requests), 2)

    # --- routes

    def _routes(self) -> list[dict[str, Any]]:
        """Those of the file, and what came by other ways since the start."""
        by_route: dict[str, Tally] = {}
        rates: dict[str, float] = {}
        for (route, _), tally in self._minute.flows.items():
            by_route[route] = by_route.get(route, NOTHING).plus(tally)
        for (route, _), tally in self._short.flows.items():
            rates[route] = round(rates.get(route, 0.0) + self._rate(tally), 2)
        written = {route.name: route for route in self._config.routes}
        flight = self._totals.now.get("in_flight", {})
        return [
            {
                "name": name,
                "location": written[name].location if name in written else "",
                "pools": self._pools_of(name),
                "rate": rates.get(name, 0.0),
                "in_flight": flight.get((name,), 0),
                **_measured(by_route.get(name, NOTHING)),
            }
            for name in dict.fromkeys((*written, *by_route))
        ]

    def _pools_of(self, name: str) -> list[str]:
        """As far as is known without a request: the one that is written, and those seen."""
        seen = [pool for route, pool in self._history.latest.flows if route == name and pool]
        for route in self._config.routes:
            if route.name == name and route.pool in self._config.pools:
                return list(dict.fromkeys((route.pool, *seen)))
        return seen

    # --- pools

    def _pool(self, name: str, pool: Pool) -> dict[str, Any]:
        now = self._totals.now
        servers = [self._server(name, server) for server in pool.servers]
        primaries = [server for server in servers if not server["backup"]]
        requests, keys = (sum(server[what] for server in servers) for what in ("requests", "keys"))
        weights = sum(server["weight"] for server in primaries)
        for server in servers:
            server["share"] = server["requests"] / requests if requests else None
            server["key_share"] = server["keys"] / keys if keys else None
            server["fair"] = 0.0 if server["backup"] else server["weight"] / weights
        return {
            "name": name,
            "balance": balance_text(pool),
            "sticky": balance_text(pool).startswith("hash ") and len(primaries) > 1,
            **{what: sum(server[what] for server in servers) for what in ("busy", "idle", "polls")},
            "held": now.get("held", {}).get((name,), 0),
            "queued": now.get("queued", {}).get((name,), 0),
            "keys": keys,
            "rate": self._rate(_of_pool(self._short, name)),
            **_measured(_of_pool(self._minute, name)),
            "servers": servers,
        }

    def _server(self, pool: str, server: Server) -> dict[str, Any]:
        key = pool, server.address
        now = self._totals.now
        seen = self._totals.servers.get(key, {"status": Status.UP, "reason": ""})
        return {
            "address": server.address,
            "name": short_name(server.address),
            "state": "off"
            if server.down
            else "drained"
            if server.address in self._facts["interventions"]["drained"]
            else _STATES[seen["status"]],
            "reason": seen["reason"],
            "weight": server.weight,
            "backup": server.backup,
            **{what: now.get(what, {}).get(key, 0) for what in ("busy", "idle", "polls", "keys")},
            "rate": self._rate(self._short.servers.get(key, NOTHING)),
            **_measured(self._minute.servers.get(key, NOTHING)),
        }

    # --- what deserves a word

    def _process_notes(self) -> Iterable[dict[str, str]]:
        facts = self._facts
        serving, wanted = len(facts["children"]), facts["wanted"]
        if not serving:
            yield _note("critical", "no child process serves")
        elif serving < wanted:
            yield _note("warning", f"{serving} of {wanted} child processes serve")
        interventions = facts["interventions"]
        if interventions["maintenance"]:
            yield _note(
                "warning",
                f"maintenance is on: clients get 503, {interventions['error']}".rstrip(", "),
            )
        for address in interventions["drained"]:
            yield _note("notice", f"{short_name(address)} is drained")
        if facts["failure"]:
            yield _note(
                "warning",
                "the last reload failed, the configuration before it is in use: "
                f"{facts['failure']}",
            )
        if self._config.admin is None:
            yield _note("notice", "requests are not counted: the configuration has no admin")

    def _traffic_notes(self, minute: Tally) -> Iterable[dict[str, str]]:
        if minute.bad > _FEW and minute.bad > minute.requests / 100:
            level = "critical" if minute.bad > minute.requests / 10 else "warning"
            share = minute.bad / minute.requests
            yield _note(level, f"{share:.1%} of requests failed in the last minute")


def _pool_notes(
    pools: Sequence[Mapping[str, Any]], settings: Mapping[str, Pool]
) -> Iterable[dict[str, str]]:
    up = {
        pool["name"] for pool in pools if any(server["state"] == "up" for server in pool["servers"])
    }
    for pool in pools:
        name = pool["name"]
        servers = [server for server in pool["servers"] if server["state"] != "off"]
        away = [server for server in servers if server["state"] in ("down", "restarting")]
        if servers and name not in up:
            text = f"pool {name} has no server that is up"
            other = settings[name].fallback
            if other in up:
                yield _note("warning", f"{text}: its requests go to {other}")
            else:
                yield _note("critical", text)
            continue
        for server in away:
            because = f": {server['reason']}" if server["reason"] else ""
            yield _note(
                "warning", f"{server['name']} of pool {pool['name']} is {server['state']}{because}"
            )


def _note(level: str, text: str) -> dict[str, str]:
    return {"level": level, "text": text}


def _of_pool(span: Span, name: str) -> Tally:
    return total(tally for (_, pool), tally in span.flows.items() if pool == name)


def _measured(tally: Tally) -> dict[str, Any]:
    return {
        "requests": tally.requests,
        "refused": tally.refused,
        "errors": tally.bad,
        "p50": tally.quantile(0.5),
        "p99": tally.quantile(0.99),
    }


def grouped(errors: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The latest errors first, those of one kind as one with its number of ``times``."""
    found: dict[tuple[object, ...], dict[str, Any]] = {}
    for error in errors:
        kind = tuple(value for name, value in error.items() if name not in ("time", "client"))
        times = found.pop(kind, {}).get("times", 0)
        found[kind] = {**error, "times": times + 1}
    return list(reversed(found.values()))[:_SHOWN_ERRORS]
