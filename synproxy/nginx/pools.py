"""``upstream`` blocks, and the pools that addresses in ``proxy_pass`` stand for.

Only what something refers to is carried over.
Source: https://nginx.org/en/docs/http/ngx_http_upstream_module.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from synproxy.config.addresses import parse_server
from synproxy.nginx.draft import Said, free_name
from synproxy.nginx.maps import Maps
from synproxy.nginx.report import Report
from synproxy.nginx.templates import UnknownVariableError
from synproxy.nginx.tree import Directive

_COUNTS = {"keepalive", "keepalive_requests"}
_DURATIONS = {"keepalive_timeout", "keepalive_time"}
_IGNORED = {"resolve", "slow_start", "service", "route", "drain"}


Tls = Mapping[str, object]
"""The ``tls`` of a pool."""


class Pools:
    """The pools that routes have asked for, by name."""

    def __init__(self, http: Directive, maps: Maps, report: Report) -> None:
        self._report = report
        self._maps = maps
        self._blocks = {
            one.args[0].lower(): one
            for one in http.all("upstream")
            if len(one.args) == 1 and one.block is not None
        }
        self._done: dict[str, object] = {}
        self._addresses: dict[tuple[str, str], str] = {}
        self._tls: dict[str, str] = {}
        """How the servers of pools are spoken to, by their names."""

    def in_file_order(self) -> dict[str, object]:
        """What was needed: upstreams in the order of the nginx configuration, then addresses."""
        order = [one.args[0] for one in self._blocks.values()]
        known = {name: self._done[name] for name in order if name in self._done}
        return known | self._done

    def named(self, name: str) -> bool:
        """Whether there is an upstream with this name."""
        return name.lower() in self._blocks

    def need(self, name: str, texts: Mapping[str, str], tls: Tls | None = None) -> str:
        """The pool for an upstream's name.

        :raises ValueError: its servers are spoken to in another way elsewhere.
        """
        block = self._blocks[name.lower()]
        written = block.args[0]
        if written not in self._done:
            self._done[written] = Said({}, "")
            self._tls[written] = repr(tls)
            pool = self._upstream(block, texts, 443 if tls is not None else 80)
            self._done[written] = Said(_with_tls(pool, tls), block.place)
        if self._tls[written] != repr(tls):
            raise ValueError(f"the servers of {written} are spoken to with other settings for TLS")
        return written

    def at(
        self, address: str, directive: Directive, name: str | None = None, tls: Tls | None = None
    ) -> str:
        """The pool for one address; ``name`` is a wish.

        :raises ValueError: it is none.
        """
        address = with_port(address, 443 if tls is not None else 80)
        parse_server(address)
        known = address, repr(tls)
        if name is None and known in self._addresses:
            return self._addresses[known]
        name = name or free_name(_name_for(address), self._taken)
        if name not in self._done:
            self._done[name] = Said(_with_tls({"servers": [address]}, tls), directive.place)
            self._tls[name] = repr(tls)
            self._addresses.setdefault(known, name)
        return name

    def _taken(self, name: str) -> bool:
        return name in self._done or self.named(name)

    def _upstream(self, block: Directive, texts: Mapping[str, str], port: int) -> dict[str, object]:
        self._report.claim(block)
        pool: dict[str, object] = {}
        servers = [one for one in block.all("server") if one.args]
        for one in block.block or ():
            if (balance := self._balance(one, texts)) is not None:
                pool["balance"] = balance
            elif one.name in _COUNTS and one.args and one.args[0].isdecimal():
                self._report.claim(one)
                pool[one.name] = Said(int(one.args[0]), one.place)
            elif one.name in _DURATIONS and one.args:
                self._report.claim(one)
                pool[one.name] = Said(_number(one.args[0]), one.place)
            elif one.name in ("zone", "resolver", "resolver_timeout"):
                self._report.needless(one)
        pool["servers"] = [self._server(one, len(servers) == 1, port) for one in servers]
        return pool

    def _balance(self, one: Directive, texts: Mapping[str, str]) -> object | None:
        """How a server is chosen, if ``one`` says so."""
        if one.name == "least_conn":
            self._report.claim(one)
            return Said("least_conn", one.place)
        if one.name == "random":
            self._report.differs(one, "the server with the fewest requests is chosen, of all")
            return Said("least_conn", f"{one.place}: random")
        if one.name == "ip_hash":
            self._report.differs(
                one, "the key is the whole address, the ring ketama: users change servers once"
            )
            return Said({"hash": "$remote_addr"}, f"{one.place}: ip_hash")
        if one.name != "hash" or not one.args:
            return None
        try:
            key = self._maps.names(texts).translate(one.args[0])
            self._maps.need(key, texts)
        except ValueError as error:
            missing = error.name if isinstance(error, UnknownVariableError) else ""
            self._report.lost(one, f"{error}: requests go round robin")
            return None if missing is None else "round_robin"
        self._report.claim(one)
        if one.args[1:2] != ("consistent",):
            self._report.differs(one, "the ring is ketama (consistent): users change servers once")
        return {"hash": Said(key, one.place)}

    def _server(self, one: Directive, alone: bool, port: int) -> object:
        self._report.claim(one)
        try:
            address = with_port(one.args[0], port)
            parse_server(address)
        except ValueError as error:
            self._report.lost(one, f"{error}")
            address = one.args[0]
        server: dict[str, object] = {"address": address}
        # nginx counts failures unless it is told not to, and never those of a single server.
        fails = {} if alone else {"max_fails": 1}
        for word in one.args[1:]:
            name, _, value = word.partition("=")
            if name in ("weight", "max_conns") and value.isdecimal():
                server[name] = int(value)
            elif name == "max_fails" and value.isdecimal():
                fails = {} if alone else {"max_fails": int(value)}
            elif name == "fail_timeout":
                server[name] = _number(value)
            elif word in ("backup", "down"):
                server[word] = True
            elif name not in _IGNORED:
                self._report.lost(one, f"the parameter {word} is not known")
            elif name == "slow_start":
                self._report.differs(one, "slow_start: a server that is back gets its full share")
        if fails and fails["max_fails"]:
            server |= fails
        elif "fail_timeout" in server:
            del server["fail_timeout"]
        if len(server) == 1:
            return Said(address, one.place)
        return Said(server, one.place)


def _number(text: str) -> object:
    return int(text) if text.isdecimal() else text


def with_port(address: str, port: int = 80) -> str:
    """nginx takes port 80 where none is written, or 443 for https."""
    if address.startswith("unix:") or re.search(r"[^:]:[0-9]+$", address):
        return address
    return f"{address}:{port}"


def _with_tls(pool: dict[str, object], tls: Tls | None) -> dict[str, object]:
    return pool if tls is None else {**pool, "tls": dict(tls)}


def _name_for(address: str) -> str:
    if address.startswith("unix:"):
        address = PurePosixPath(address.removeprefix("unix:")).stem
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", address).strip("_") or "server"
