"""What the model cannot see: names that refer to each other, addresses, regexes, variables.

Works on the tree as written, so that mistakes are found next to those of the model. Must not know
YAML, and leaves every value of a wrong type to the model.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping

from synproxy.config.addresses import parse_listen, parse_server
from synproxy.config.document import Document, Path
from synproxy.config.pcre import compile_regex
from synproxy.config.peer_checks import check_name, check_network, check_peers
from synproxy.config.pool_checks import check_pools
from synproxy.config.variable_names import (
    BUILTIN_VARIABLES,
    is_builtin,
    template_parts,
    variable_names_in,
)
from synproxy.config.well_known import PATHS, check_well_known
from synproxy.config.wording import cut, did_you_mean, quoted

MAX_POOL_NAMES = 1000
"""Combinations of map values that are followed for one ``pool``."""

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110 section 5.6.2
_LOCATION = re.compile(r"(=|\^~|~\*|~)?\s*(.+)", re.DOTALL)
_FRAMING = {"content-length", "transfer-encoding"}
_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"}


def check_references(document: Document) -> None:
    """Report every mistake of this kind in ``document``."""
    _Checker(document).check()


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _member(value: object, key: str) -> object:
    """``value[key]``, or a bare ``value`` that stands for it."""
    return value.get(key) if isinstance(value, dict) else value


class _Checker:
    """One pass over one document; the names that exist are collected first."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._tree = _mapping(document.value)
        self._maps = _mapping(self._tree.get("maps"))
        self._pools = _mapping(self._tree.get("pools"))
        self._allowlists = _mapping(self._tree.get("allowlists"))
        self._routes = _items(self._tree.get("routes"))
        self._well_known = _mapping(self._tree.get("well_known"))
        self._captures = set(self._route_captures())

    def check(self) -> None:
        self._check_listeners()
        self._check_admin()
        self._check_regexes(("http", "gzip", "disable"))
        self._check_proxy(("proxy",), self._tree.get("proxy"))
        for name, allowlist in self._allowlists.items():
            self._check_allowlist(("allowlists", name), allowlist)
        for name, declared in self._maps.items():
            self._check_map(("maps", name), name, _mapping(declared))
        self._check_map_cycles()
        for name, pool in self._pools.items():
            self._check_pool(("pools", name), name, _mapping(pool))
        check_pools(self._document, self._pools)
        self._check_routes()
        self._check_whoami()
        self._check_request_id()
        check_peers(self._document, self._tree)
        check_well_known(self._document, self._well_known)

    # Listeners and access

    def _check_listeners(self) -> None:
        seen: dict[object, int] = {}
        for index, listener in enumerate(_items(self._tree.get("listeners"))):
            path: Path = ("listeners", index)
            text = _member(listener, "listen")
            if isinstance(listener, dict):
                mode = listener.get("mode")
                if isinstance(mode, str) and not re.fullmatch(r"0?[0-7]{3}", mode):
                    wanted = 'mode: expected octal permissions such as "0660"'
                    self._document.at_value((*path, "mode"), f"{wanted}, got {quoted(mode)}")
                path = (*path, "listen")
            if isinstance(text, bool) or not isinstance(text, str | int):
                continue
            try:
                address = parse_listen(str(text))
            except ValueError as error:
                self._document.at_value(path, f"listen: {_reason(error)}, got {quoted(str(text))}")
                continue
            if address in seen:
                message = f"{quoted(str(text))} is listened on twice"
                self._document.at_value(path, message, f"see line {seen[address]}")
            seen.setdefault(address, self._document.place(path).line)

    def _check_allowlist(self, path: Path, allowlist: object) -> None:
        if isinstance(allowlist, dict):
            path = (*path, "rules")
        for index, rule in enumerate(_items(_member(allowlist, "rules"))):
            if not isinstance(rule, dict):
                continue
            if len(rule.keys() & {"allow", "deny"}) != 1:
                self._document.at_value((*path, index), 'expected one of "allow" and "deny"')
            for key in ("allow", "deny"):
                if isinstance(value := rule.get(key), str):
                    self._check_network((*path, index, key), value)

    def _check_network(self, path: Path, value: str) -> None:
        if value != "all":
            check_network(self._document, path, value, '"all" or "unix:"')

    def _check_admin(self) -> None:
        admin = self._tree.get("admin")
        text = _member(admin, "listen")
        if isinstance(text, bool) or not isinstance(text, str | int):
            return
        path: Path = ("admin", "listen") if isinstance(admin, dict) else ("admin",)
        try:
            address = parse_listen(str(text))
        except ValueError as error:
            self._document.at_value(path, f"listen: {_reason(error)}, got {quoted(str(text))}")
            return
        for index, listener in enumerate(_items(self._tree.get("listeners"))):
            with contextlib.suppress(ValueError):
                if parse_listen(str(_member(listener, "listen"))) == address:
                    line = self._document.place(("listeners", index)).line
                    message = f"{quoted(str(text))} is where clients connect"
                    self._document.at_value(path, message, f"see line {line}")

    # Regexes and templates

    def _compile(
        self, path: Path, pattern: str, ignore_case: bool = False, is_key: bool = False
    ) -> re.Pattern[bytes] | None:
        try:
            return compile_regex(pattern, ignore_case=ignore_case)
        except ValueError as error:
            cause = error.__cause__
            reason = cause.msg if isinstance(cause, re.error) else str(error)
        except (OverflowError, RecursionError):
            reason = "it is too large or too deep"
        report = self._document.at_key if is_key else self._document.at_value
        report(path, f"the regex {quoted(pattern)} cannot be read: {cut(reason)}")
        return None

    def _check_regexes(self, path: Path) -> None:
        value: object = self._tree
        for part in path:
            value = _mapping(value).get(str(part))
        for index, pattern in enumerate(_items(value)):
            if isinstance(pattern, str):
                self._compile((*path, index), pattern)

    def _check_template(self, path: Path, text: object, groups: Iterable[str] = ()) -> None:
        """Every variable in ``text`` must exist; ``groups`` are those of the map's own regex."""
        if not isinstance(text, str):
            return
        try:
            names = variable_names_in(text)
        except ValueError as error:
            self._document.at_value(path, f"{error}, got {quoted(text)}")
            return
        known = {*self._captures, *(name.lower() for name in (*self._maps, *groups))}
        for name in names:
            if name.lower() in known or is_builtin(name.lower()):
                continue
            hint = did_you_mean(name, {*known, *BUILTIN_VARIABLES}, "$")
            if name.isdecimal():
                hint = "only the values of a regex in a map have numbered groups; name the group"
            self._document.at_value(path, f"unknown variable {quoted('$' + name)}", hint)

    def _check_proxy(self, path: Path, proxy: object) -> None:
        fields = _mapping(_mapping(proxy).get("set_header"))
        seen: dict[str, str] = {}
        for name, value in fields.items():
            place = (*path, "set_header", name)
            if not _TOKEN.fullmatch(name):
                self._document.at_key(place, f"{quoted(name)} cannot be a header name")
            elif name.lower() in _FRAMING:
                hint = "remove it: it follows from the request"
                self._document.at_key(place, f"{quoted(name)} cannot be set", hint)
            elif name.lower() in seen:
                hint = f"it is {quoted(seen[name.lower()])} already; case does not count"
                self._document.at_key(place, f"the header {quoted(name)} is set twice", hint)
            seen.setdefault(name.lower(), name)
            self._check_template(place, value)
        for index, hidden in enumerate(_items(_mapping(proxy).get("hide_header"))):
            if isinstance(hidden, str) and not _TOKEN.fullmatch(hidden):
                place = (*path, "hide_header", index)
                self._document.at_value(place, f"{quoted(hidden)} cannot be a header name")

    # Maps

    def _check_map(self, path: Path, name: str, declared: Mapping[str, object]) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_]+", name):
            hint = "letters, digits and _ make a name that $name can read"
            self._document.at_key(path, f"{quoted(name)} cannot be a map's name", hint)
        elif is_builtin(name.lower()):
            message = f"the map {quoted(name)} has the name of a builtin variable"
            self._document.at_key(path, message, "choose another name")
        self._check_template((*path, "source"), declared.get("source"))
        self._check_template((*path, "default"), declared.get("default"))
        seen: dict[str, str] = {}
        for key, value in _mapping(declared.get("values")).items():
            place = (*path, "values", key)
            groups: list[str] = []
            if key.startswith("~"):
                pattern = key[1:].removeprefix("*")
                regex = self._compile(place, pattern, key.startswith("~*"), is_key=True)
                if regex is None:
                    continue
                groups = [*regex.groupindex, *map(str, range(1, regex.groups + 1))]
            elif key == "default":
                hint = 'write "default:" next to "values:", or "\\\\default" for the word itself'
                self._document.at_key(place, '"default" is not looked up here', hint)
            else:
                folded = key.removeprefix("\\").lower()
                if folded in seen:
                    hint = f"it is {quoted(seen[folded])} already; case does not count"
                    self._document.at_key(place, f"the key {quoted(key)} stands twice", hint)
                seen.setdefault(folded, key)
            self._check_template(place, value, groups)

    def _reads(self, name: str) -> set[str]:
        declared = _mapping(self._maps.get(name))
        values = _mapping(declared.get("values")).values()
        found: set[str] = set()
        for text in (declared.get("source"), declared.get("default"), *values):
            found |= {part for part in _names(text) if part in self._maps}
        return found

    def _check_map_cycles(self) -> None:
        reads = {name: self._reads(name) for name in self._maps}
        for name in reads:
            reached: set[str] = set()
            waiting = list(reads[name])
            while waiting:
                if (step := waiting.pop()) not in reached:
                    reached.add(step)
                    waiting.extend(reads[step])
            if name in reached:
                self._document.at_key(("maps", name), f"the map {quoted(name)} reads itself")

    # Pools

    def _check_pool(self, path: Path, name: str, pool: Mapping[str, object]) -> None:
        if not name or "$" in name:
            self._document.at_key(path, f"{quoted(name)} cannot be a pool's name")
        balance = _mapping(pool.get("balance"))
        self._check_template((*path, "balance", "hash"), balance.get("hash"))
        for index, server in enumerate(_items(pool.get("servers"))):
            place: Path = (*path, "servers", index)
            text = _member(server, "address")
            if isinstance(server, dict):
                place = (*place, "address")
            if not isinstance(text, str):
                continue
            if isinstance(server, dict) and server.get("resolve") in (True, "on", "yes"):
                check_name(self._document, place, text)
                continue
            try:
                parse_server(text)
                if not text.startswith("unix:") and not re.search(r"[^:]:[0-9]+$", text):
                    raise ValueError("a port is missing, as in 127.0.0.1:8008")
            except ValueError as error:
                self._document.at_value(place, f"address: {_reason(error)}, got {quoted(text)}")

    def _check_pool_name(self, path: Path, text: str, route: str) -> None:
        """``text`` is a pool's name, or maps whose every value makes one."""
        self._check_template(path, text)
        try:
            parts = template_parts(text)
        except ValueError:
            return
        choices = []
        for part, is_name in parts:
            if not is_name:
                choices.append([(path, part)])
            elif part in self._maps:
                choices.append(list(self._map_results(part)))
            else:
                if is_builtin(part.lower()) or part.lower() in self._captures:
                    message = f"pool: {quoted('$' + part)} may be anything a client sends"
                    self._document.at_value(path, message, "use a map that gives pool names")
                return
        for chosen in itertools.islice(itertools.product(*choices), MAX_POOL_NAMES):
            name = "".join(value for _, value in chosen)
            if name in self._pools:
                continue
            place = chosen[0][0] if len(chosen) == 1 else path
            if "$" in name:
                message = "a map that names pools cannot have variables in its values"
                self._document.at_value(place, message, f"route {quoted(route)} uses it as a pool")
                continue
            hint = did_you_mean(name, self._pools)
            if not hint and place != path:
                hint = f"route {quoted(route)} uses it as a pool"
            self._document.at_value(place, f"no pool is named {quoted(name)}", hint)

    def _check_whoami(self) -> None:
        name = _mapping(self._tree.get("synapse")).get("whoami")
        if isinstance(name, str) and name not in self._pools:
            hint = did_you_mean(name, self._pools)
            self._document.at_value(("synapse", "whoami"), f"no pool is named {quoted(name)}", hint)

    def _check_request_id(self) -> None:
        path: Path = ("http", "request_id")
        declared = _mapping(self._tree.get("http")).get("request_id")
        header, trust = _member(declared, "header"), _mapping(declared).get("trust")
        inside = isinstance(declared, dict)
        if isinstance(header, str) and header not in ("on", "off"):
            place = (*path, "header") if inside else path
            if not _TOKEN.fullmatch(header) or header.lower() in _FRAMING:
                self._document.at_value(place, f"{quoted(header)} cannot be a header name here")
        if isinstance(trust, str) and trust not in self._allowlists:
            message = f"no allowlist is named {quoted(trust)}"
            hint = did_you_mean(trust, self._allowlists)
            self._document.at_value((*path, "trust"), message, hint)

    def _map_results(self, name: str) -> Iterator[tuple[Path, str]]:
        """Every value of a map with its place, as written."""
        declared = _mapping(self._maps[name])
        path: Path = ("maps", name)
        for key, value in _mapping(declared.get("values")).items():
            if isinstance(value, str):
                yield (*path, "values", key), value
        default = declared.get("default", "")
        if isinstance(default, str):
            yield (*path, "default"), default

    # Routes

    def _route_captures(self) -> Iterator[str]:
        for route in self._routes:
            location = _mapping(route).get("location")
            parts = _LOCATION.fullmatch(location.strip()) if isinstance(location, str) else None
            if parts and (parts[1] or "").startswith("~"):
                try:
                    yield from (name.lower() for name in compile_regex(parts[2]).groupindex)
                except (ValueError, OverflowError, RecursionError):
                    continue  # reported where the location is checked

    def _check_routes(self) -> None:
        names: dict[str, int] = {}
        locations: dict[tuple[str, frozenset[object]], int] = {}
        for index, item in enumerate(self._routes):
            if not isinstance(item, dict):
                continue
            path: Path = ("routes", index)
            name = item.get("name")
            line = self._document.place((*path, "name")).line
            if isinstance(name, str):
                if not name:
                    self._document.at_value((*path, "name"), "a route needs a name")
                elif name in names:
                    message = f"two routes are named {quoted(name)}"
                    hint = f"the other one is in line {names[name]}"
                    self._document.at_value((*path, "name"), message, hint)
                names.setdefault(name, line)
            if len(item.keys() & {"pool", "respond"}) != 1:
                self._document.at_key(path, 'a route needs one of "pool" and "respond"')
            if isinstance(pool := item.get("pool"), str):
                self._check_pool_name((*path, "pool"), pool, str(name))
            methods = self._check_methods(path, item)
            if isinstance(location := item.get("location"), str):
                key = self._check_location((*path, "location"), location)
                other = locations.setdefault((key, methods), index)
                if key and other != index:
                    message = f"the location {quoted(location)} stands twice"
                    line = self._document.place(("routes", other, "location")).line
                    hint = f"the other one is in line {line}"
                    self._document.at_value((*path, "location"), message, hint)
                for document, well_known in PATHS.items():
                    if key == f"= {well_known}" and document in self._well_known:
                        message = f"well_known.{document} answers {well_known} already"
                        hint = "remove one of the two"
                        self._document.at_value((*path, "location"), message, hint)
            for number, wanted in enumerate(_items(item.get("allowlists"))):
                if isinstance(wanted, str) and wanted not in self._allowlists:
                    message = f"no allowlist is named {quoted(wanted)}"
                    hint = did_you_mean(wanted, self._allowlists)
                    self._document.at_value((*path, "allowlists", number), message, hint)
            self._check_proxy((*path, "proxy"), item.get("proxy"))

    def _check_methods(self, path: Path, route: Mapping[str, object]) -> frozenset[object]:
        methods = _items(route.get("methods"))
        for number, method in enumerate(methods):
            if not isinstance(method, str) or method in _METHODS:
                continue
            place = (*path, "methods", number)
            if method.upper() in _METHODS:
                message = f"{quoted(method)} is no method: case counts"
                self._document.at_value(place, message, f"write {method.upper()}")
            elif not _TOKEN.fullmatch(method):
                self._document.at_value(place, f"{quoted(method)} cannot be a method")
        return frozenset(method for method in methods if isinstance(method, str))

    def _check_location(self, path: Path, location: str) -> str:
        """What makes a prefix or exact location the same as another one, else an empty string."""
        parts = _LOCATION.fullmatch(location.strip())
        if parts is None:
            self._document.at_value(path, "a location is empty")
            return ""
        kind, text = parts[1] or "", parts[2]
        if kind.startswith("~"):
            self._compile(path, text, ignore_case=kind == "~*")
            return ""
        if not text.startswith("/"):
            message = f"the location {quoted(location)} does not start with a slash"
            hint = "named locations do not exist here" if text.startswith("@") else ""
            self._document.at_value(path, message, hint)
        return f"{'=' if kind == '=' else ''} {text}"


def _reason(error: ValueError) -> str:
    """What was expected of an address; the value itself is shown by the caller."""
    reason = str(error).partition(", got ")[0]
    if reason.startswith(("expected", "a port", "the socket path")):
        return reason
    return "expected an IPv6 address in brackets, as in [::1]:8008"


def _names(text: object) -> list[str]:
    try:
        return variable_names_in(text) if isinstance(text, str) else []
    except ValueError:
        return []
