"""Locations as routes.

Source: https://nginx.org/en/docs/http/ngx_http_core_module.html#location
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from synproxy.config.pcre import compile_regex
from synproxy.nginx.access import Allowlists, asks_whoami, guard
from synproxy.nginx.draft import Said
from synproxy.nginx.headers import set_header
from synproxy.nginx.locations import Flat, flatten
from synproxy.nginx.logs import only_one_log
from synproxy.nginx.maps import Maps
from synproxy.nginx.pools import Pools
from synproxy.nginx.proxy_pass import NoPoolError, destination
from synproxy.nginx.redirects import challenges
from synproxy.nginx.report import Report
from synproxy.nginx.responses import closed, respond, serves_files, well_known
from synproxy.nginx.scope import Scope
from synproxy.nginx.settings import only_for_all, proxy_settings
from synproxy.nginx.templates import SYNAPSE_USER, Names
from synproxy.nginx.tree import Directive

_FOREIGN = ("fastcgi_pass", "grpc_pass", "uwsgi_pass", "scgi_pass", "memcached_pass")


class Routes:
    """The routes of one server block, and what they have in common."""

    def __init__(self, server: Scope, http: Directive, report: Report) -> None:
        self._report = report
        self._server = server
        self.maps = Maps(http, report)
        self.pools = Pools(http, self.maps, report)
        self.allowlists = Allowlists(report)
        self.well_known: dict[str, object] = {}
        self.whoami = False
        self._routes: list[dict[str, object]] = []
        self._origins: list[str] = []
        self._proxies: list[dict[str, object] | None] = []
        self._names: Counter[str] = Counter()
        found, hidden = flatten(server)
        self._kept = _groups(found)
        for one in hidden:
            report.lost(one, "no request finds it")
        server_names = server.own("server_name")
        report.claim(server_names)
        words = server_names.args if server_names else ()
        self._texts = {"server_name": words[0] if words else ""}
        for flat in found:
            self._add(flat)
        if not any(flat.text in ("/", "") and not flat.kind.startswith("~") for flat in found):
            self._server_itself()

    def _server_itself(self) -> None:
        """What a server block answers where no location matches, if it says so."""
        one = self._server.own("return")
        if one is not None:
            self._append(Flat("", "/", self._server), {"respond": respond(one, self._report)}, None)

    @property
    def common(self) -> dict[str, object]:
        """The ``proxy`` section: of each setting what most routes have."""
        proxies = [proxy for proxy in self._proxies if proxy is not None]
        names = {name: None for proxy in proxies for name in proxy}
        found: dict[str, object] = {}
        for name in names:
            values = [proxy.get(name) for proxy in proxies]
            ranked = Counter(map(_comparable, values)).most_common(1)[0][0]
            value = next(value for value in values if _comparable(value) == ranked)
            if value is not None:
                found[name] = value
        return found

    @property
    def last_pool(self) -> str:
        """The pool of the last route with one that is always the same: mostly that of ``/``."""
        pools = [str(_bare(route["pool"])) for route in self._routes if "pool" in route]
        return next((pool for pool in reversed(pools) if "$" not in pool), "")

    def sections(self) -> list[object]:
        """The routes, each with what it changes in the common settings."""
        common = self.common
        found: list[object] = []
        for route, proxy, origin in zip(self._routes, self._proxies, self._origins, strict=True):
            changed = {
                name: value
                for name, value in (proxy or {}).items()
                if _comparable(value) != _comparable(common.get(name))
            }
            if proxy is not None and "client_max_body_size" in common:
                changed.setdefault("client_max_body_size", self._http_limit(proxy))
                if changed["client_max_body_size"] is None:
                    del changed["client_max_body_size"]
            found.append(Said(route | ({"proxy": changed} if changed else {}), origin))
        return found

    def _http_limit(self, proxy: Mapping[str, object]) -> object | None:
        """nginx's default, for a route without a limit where the others have one."""
        return None if "client_max_body_size" in proxy else Said("1m", "nginx's default")

    def _add(self, flat: Flat) -> None:
        report, scope = self._report, flat.scope
        block = scope.innermost
        report.claim(block)
        if challenges(scope) is not None:
            report.claim(*(block.block or ()))
            return  # a listener answers them: acme_webroot
        if scope.own("internal") is not None:
            report.claim(scope.own("internal"))
            if scope.own("js_content") is not None and "whoami" in " ".join(block.args):
                report.claim(scope.own("js_content"))
            self._append(flat, {"respond": {"status": Said(404, "internal")}}, None)
            return
        texts = dict(self._texts)
        for name, one in scope.variables().items():
            report.claim(one)
            texts[name] = one.args[1]
        if flat.kind.startswith("~"):
            try:
                compile_regex(flat.text, ignore_case=flat.kind == "~*")
            except ValueError as error:
                report.lost(block, f"{error}: no route is made of it")
                return
        if (user := asks_whoami(scope)) is not None:
            self.whoami = True
            asked = [
                one
                for name in ("auth_request", "auth_request_set")
                for one in scope.inherited(name)
            ]
            for one in asked:
                report.differs(
                    one,
                    "the user of a token is asked for by synapse.whoami: users change servers once",
                )
            texts[user] = SYNAPSE_USER
        elif (guarded := guard(scope)) is not None:
            for one in block.block or ():
                if one is not guarded:
                    report.needless(one)
            why = "nginx guards it otherwise"
            report.lost(guarded, "its location is closed (403), since it would be open without it")
            self._append(flat, {"respond": closed(guarded, 403, why)}, None)
            return
        self._forward(flat, texts)

    def _forward(self, flat: Flat, texts: Mapping[str, str]) -> None:
        report, scope = self._report, flat.scope
        answered = scope.own("return") or self._server.own("return")
        if answered is not None:
            document = well_known(flat.text, answered)
            if document is not None and not flat.kind.startswith("~"):
                report.claim(answered)
                for name in ("add_header", "default_type", "types"):
                    for one in scope.innermost.all(name):
                        report.needless(one)
                self.well_known[document[0]] = Said(document[1], answered.place)
                return
            self._append(flat, {"respond": respond(answered, report)}, None)
            return
        passed = scope.own("proxy_pass")
        if passed is None:
            self._unserved(flat)
            return
        names = self._names_in(texts)
        try:
            goal = destination(
                *(passed, (flat.kind, flat.text), scope, names, self.pools, self.maps, report)
            )
        except NoPoolError as error:
            report.lost(passed, f"{error}. Its requests are answered with 502")
            self._append(flat, {"respond": closed(passed, 502, "No pool was carried over")}, None)
            return
        report.claim(passed)
        only_for_all(self._server, scope, report)
        only_one_log(self._server, scope, report)
        proxy = proxy_settings(scope, report)
        names = self._names_in({**texts, "proxy_host": goal.host})
        proxy["set_header"] = set_header(scope, goal.host, names, self.maps, report)
        self._append(flat, {"pool": Said(goal.pool, passed.place)}, proxy)

    def _unserved(self, flat: Flat) -> None:
        for name in _FOREIGN:
            if (one := flat.scope.own(name)) is not None:
                self._report.lost(one, "only HTTP is spoken. Its requests are answered with 502")
                answer = closed(one, 502, "No pool was carried over")
                self._append(flat, {"respond": answer}, None)
                return
        one = serves_files(flat.scope)
        self._report.lost(one, "no files are served. Its requests are answered with 404")
        self._append(flat, {"respond": {"status": 404}}, None)

    def _names_in(self, texts: Mapping[str, str]) -> Names:
        return self.maps.names(texts, self._kept)

    def _append(
        self, flat: Flat, route: dict[str, object], proxy: dict[str, object] | None
    ) -> None:
        lists, satisfy = self.allowlists.of(flat.scope)
        if lists:
            route["allowlists"] = lists
            if satisfy == "any":
                route["satisfy"] = "any"
        location = flat.scope.innermost
        head: dict[str, object] = {"name": self._name(route), "location": flat.written}
        written = " ".join(location.args) if flat.nested else ""
        origin = location.place + (f": location {written}" if written else "")
        self._routes.append(head | route)
        self._proxies.append(proxy)
        self._origins.append(origin)

    def _name(self, route: Mapping[str, object]) -> str:
        pool = route.get("pool")
        if isinstance(pool, Said):
            wish = re.sub(r"[^A-Za-z0-9_.-]+", "_", str(pool.value)).strip("_") or "route"
        else:
            answer = route["respond"]
            assert isinstance(answer, dict)
            status = answer["status"]
            wish = f"answer_{status.value if isinstance(status, Said) else status}"
        self._names[wish] += 1
        return wish if self._names[wish] == 1 else f"{wish}_{self._names[wish]}"


def _groups(found: Iterable[Flat]) -> frozenset[str]:
    """The named groups of all regexes, which are variables."""
    names: set[str] = set()
    for flat in found:
        if flat.kind.startswith("~"):
            try:
                names |= {name.lower() for name in compile_regex(flat.text).groupindex}
            except ValueError:
                continue  # reported where the location is carried over
    return frozenset(names)


def _comparable(value: object) -> str:
    """Equal for values that differ in their comments only."""
    return repr(_bare(value))


def _bare(value: object) -> object:
    if isinstance(value, Said):
        return _bare(value.value)
    if isinstance(value, dict):
        return {name: _bare(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_bare(one) for one in value]
    return value
