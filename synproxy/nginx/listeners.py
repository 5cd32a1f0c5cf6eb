"""``listen``: where clients connect.

Source: https://nginx.org/en/docs/http/ngx_http_core_module.html#listen
"""

from __future__ import annotations

from synproxy.config.addresses import parse_listen
from synproxy.nginx.draft import Said
from synproxy.nginx.pools import with_port
from synproxy.nginx.report import Report
from synproxy.nginx.tree import Directive


def listeners(server: Directive, report: Report) -> list[object]:
    """The listeners of a server block."""
    found: list[object] = []
    plain = [one for one in server.all("listen") if one.args]
    for one in plain:
        if "ssl" in one.args[1:] or "quic" in one.args[1:]:
            report.lost(one, "TLS ends elsewhere: put what ends it before a plain listener")
            continue
        try:
            parse_listen(_address(one.args[0]))
        except ValueError as error:
            report.lost(one, str(error))
            continue
        found.append(_listener(one, report))
    if not plain:
        found.append(Said("80", "nginx's default"))
    if not found:
        found.append(Said("127.0.0.1:8008", "all listeners of nginx end TLS: see below"))
    return found


def _address(written: str) -> str:
    return written if written.isdecimal() else with_port(written)


def _listener(one: Directive, report: Report) -> object:
    report.claim(one)
    section: dict[str, object] = {"listen": _address(one.args[0])}
    for word in one.args[1:]:
        name, _, value = word.partition("=")
        if name == "backlog" and value.isdecimal():
            section["backlog"] = int(value)
        elif name == "ipv6only":
            section["ipv6only"] = value != "off"
        elif word == "proxy_protocol":
            report.lost(one, "the PROXY protocol is not read here")
        elif word in ("http2", "spdy"):
            report.differs(one, "HTTP/1.1 is spoken")
    if len(section) == 1:
        return Said(section["listen"], one.place)
    return Said(section, one.place)
