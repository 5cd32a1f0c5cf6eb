"""Directives with a counterpart of the same name and meaning, and what nginx does without them.

Source: https://nginx.org/en/docs/http/ngx_http_proxy_module.html and
https://nginx.org/en/docs/http/ngx_http_core_module.html
"""

from __future__ import annotations

from synproxy.config.units import parse_duration, parse_size
from synproxy.nginx.addresses import trusted_proxies
from synproxy.nginx.draft import Said
from synproxy.nginx.report import Report
from synproxy.nginx.scope import Scope
from synproxy.nginx.tree import Directive

_PROXY = {
    "proxy_connect_timeout": ("duration", "60s"),
    "proxy_send_timeout": ("duration", "60s"),
    "proxy_read_timeout": ("duration", "60s"),
    "proxy_socket_keepalive": ("flag", False),
    "proxy_next_upstream_tries": ("count", 0),
    "proxy_next_upstream_timeout": ("duration", "0"),
    "proxy_ignore_client_abort": ("flag", False),
}
"""Kind, and nginx's default; where that is ours too, it is not written."""

_OUR_DEFAULTS = {
    "proxy_next_upstream_tries",
    "proxy_next_upstream_timeout",
    "proxy_ignore_client_abort",
}

_HTTP = {
    "client_header_timeout": "duration",
    "client_body_timeout": "duration",
    "send_timeout": "duration",
    "keepalive_timeout": "duration",
    "keepalive_requests": "count",
    "client_max_body_size": "size",
    "client_header_buffer_size": "size",
    "http2_max_concurrent_streams": "count",
    "lingering_time": "duration",
    "lingering_timeout": "duration",
    "tcp_nodelay": "flag",
    "server_tokens": "flag",
}
_ADDRESSES = ("$binary_remote_addr", "$remote_addr")
_GZIP = {"gzip_comp_level": "count", "gzip_min_length": "size", "gzip_vary": "flag"}
_FAILURES = {"error", "timeout", "invalid_header", "non_idempotent"}


def http_section(server: Scope, report: Report) -> dict[str, object]:
    """The ``http`` section: what holds in the server block."""
    section: dict[str, object] = {}
    for name, kind in _HTTP.items():
        one = server.last(name)
        if one is not None and (value := _value(one, kind, report)) is not None:
            section[name] = value
    if (one := server.last("large_client_header_buffers")) is not None and len(one.args) == 2:
        report.claim(one)
        section[one.name] = Said(" ".join(one.args), one.place)
    if trusted := trusted_proxies(server, report):
        section["trusted_proxies"] = trusted
    if gzip := _gzip(server, report):
        section["gzip"] = gzip
    return section


def limits(server: Scope, report: Report) -> dict[str, object]:
    """The ``limits`` section: a ``limit_conn`` whose zone goes by the client's address."""
    keys = {
        word.removeprefix("zone=").partition(":")[0]: (one, one.args[0])
        for block in server.blocks
        for one in block.all("limit_conn_zone")
        for word in one.args[1:]
        if word.startswith("zone=")
    }
    found: list[tuple[int, Directive]] = []
    for one in server.inherited("limit_conn"):
        if len(one.args) != 2 or not one.args[1].isdecimal():
            continue
        zone, key = keys.get(one.args[0], (None, ""))
        if key not in _ADDRESSES:
            report.lost(one, "connections are limited by the client's address only")
            continue
        report.claim(one, zone)
        report.differs(
            one,
            "open connections of an address are counted, in each child, where nginx counts its"
            " requests in progress over all workers",
        )
        found.append((int(one.args[1]), one))
    if not found:
        return {}
    count, one = min(found, key=lambda each: each[0])
    return {"connections_per_address": Said(count, one.place)}


def only_for_all(server: Scope, location: Scope, report: Report) -> None:
    """Report what a location sets otherwise than its server block, and cannot here."""
    names = (*_HTTP, *_GZIP, "gzip", "gzip_types", "gzip_disable", "large_client_header_buffers")
    for name in names:
        one, general = location.last(name), server.last(name)
        if name == "client_max_body_size" or one is None or one is general:
            continue
        if general is None or one.args != general.args:
            report.lost(one, "it can be set for all routes only: the server block's value holds")


def _gzip(server: Scope, report: Report) -> dict[str, object]:
    section: dict[str, object] = {}
    one = server.last("gzip")
    if one is None or (enabled := _value(one, "flag", report)) is None:
        return {}
    section["enabled"] = enabled
    for name, kind in _GZIP.items():
        one = server.last(name)
        if one is not None and (value := _value(one, kind, report)) is not None:
            section[name.removeprefix("gzip_")] = value
    if "vary" not in section:
        section["vary"] = Said(False, "nginx's default; on is better where caches are")
    for name in ("gzip_disable", "gzip_types"):
        if (one := server.last(name)) is not None and one.args:
            report.claim(one)
            words = [r"MSIE [4-6]\." if word == "msie6" else word for word in one.args]
            section[name.removeprefix("gzip_")] = Said(list(words), one.place)
    return section


def proxy_settings(location: Scope, report: Report) -> dict[str, object]:
    """The ``proxy`` settings that hold in a location, but for ``set_header``."""
    section: dict[str, object] = {}
    for name, (kind, default) in _PROXY.items():
        one = location.last(name)
        short = name.removeprefix("proxy_")
        if one is not None and (value := _value(one, kind, report)) is not None:
            section[short] = value
        elif name not in _OUR_DEFAULTS:
            section[short] = Said(default, "nginx's default")
    if (one := location.last("proxy_next_upstream")) is not None:
        section["next_upstream"] = _next_upstream(one, report)
    hidden = location.inherited("proxy_hide_header")
    if hidden:
        report.claim(*hidden)
        section["hide_header"] = Said(
            [word for one in hidden for word in one.args[:1]], hidden[0].place
        )
    one = location.last("client_max_body_size")
    if one is not None and (value := _value(one, "size", report)) is not None:
        section["client_max_body_size"] = value
    return section


def _next_upstream(one: Directive, report: Report) -> object:
    report.claim(one)
    unknown = [word for word in one.args if word not in _FAILURES | {"off", "updating"}]
    if unknown:
        report.differs(
            one, f"{' '.join(unknown)}: an answer of a server is passed on, whatever its status"
        )
    if "off" in one.args:
        return Said("off", one.place)
    return Said([word for word in one.args if word in _FAILURES], one.place)


def _value(one: Directive, kind: str, report: Report) -> Said | None:
    """The first argument as its kind; None, and an entry in the report, if it is not of it."""
    word = one.args[0] if one.args else ""
    try:
        value = _read(word, kind)
    except ValueError as error:
        report.lost(one, f"{error}; the default holds")
        return None
    report.claim(one)
    return Said(value, one.place)


def _read(word: str, kind: str) -> object:
    if kind == "flag":
        if word not in ("on", "off", "build"):
            raise ValueError('expected "on" or "off"')
        return word != "off"
    if kind == "count":
        if not word.isdecimal():
            raise ValueError("expected a number")
        return int(word)
    (parse_duration if kind == "duration" else parse_size)(word)
    return int(word) if word.isdecimal() else word
