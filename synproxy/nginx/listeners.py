"""``listen``: where clients connect, with TLS or without, and what a listener does by itself.

Source: https://nginx.org/en/docs/http/ngx_http_core_module.html#listen
"""

from __future__ import annotations

from pathlib import Path

from synproxy.config.addresses import parse_listen
from synproxy.nginx.addresses import proxy_protocol
from synproxy.nginx.draft import Said
from synproxy.nginx.pools import with_port
from synproxy.nginx.redirects import challenges, redirects
from synproxy.nginx.report import Report
from synproxy.nginx.scope import Scope
from synproxy.nginx.tls import tls_section, without_tls
from synproxy.nginx.tree import Directive

_PORT_80 = "80"


def listeners(scope: Scope, prefix: Path, report: Report) -> list[object]:
    """The listeners of a server block, and of those beside it that send its clients to https."""
    http, server = scope.blocks[0], scope.innermost
    tls = None
    if any(map(_speaks_tls, server.all("listen"))) or _always_tls(scope, report):
        tls = tls_section(scope, prefix, report)
    else:
        without_tls(scope, report)
    found = _of(scope, tls, report)
    if not found:
        found["127.0.0.1:8008"] = Said(
            {"listen": "127.0.0.1:8008"}, "no listener of nginx could be carried over: see below"
        )
    for one in redirects(http, server, report) if tls is not None else ():
        for address, listener in _of(Scope((http, one)), None, report).items():
            if address in found:
                report.lost(one, f"the imported server block listens on {address}, too")
                continue
            assert isinstance(listener.value, dict)
            listener.value["redirect_https"] = True
            found[address] = listener
    return [_short(listener) for listener in found.values()]


def _of(scope: Scope, tls: dict[str, object] | None, report: Report) -> dict[str, Said]:
    """The listeners of one server block by address."""
    found: dict[str, Said] = {}
    server = scope.innermost
    written = [one for one in server.all("listen") if one.args]
    always = _always_tls(scope, report)
    for one in written:
        if "quic" in one.args[1:]:
            report.lost(one, "HTTP/3 is not spoken")
            continue
        secure = always or _speaks_tls(one)
        if secure and tls is None:
            report.lost(one, "its certificate is not carried over")
            continue
        try:
            parse_listen(_address(one.args[0]))
        except ValueError as error:
            report.lost(one, str(error))
            continue
        section = _section(one, scope, report)
        if secure:
            section["tls"] = tls
        if (http2 := _http2(scope, report)) is not None:
            section["http2"] = http2
        if (webroot := _webroot(scope)) is not None:
            section["acme_webroot"] = webroot
        found[str(section["listen"])] = Said(section, one.place)
    if not written:
        found[_PORT_80] = Said({"listen": _PORT_80}, "nginx's default")
    return found


def _speaks_tls(one: Directive) -> bool:
    return "ssl" in one.args[1:]


def _always_tls(scope: Scope, report: Report) -> bool:
    """``ssl on``, of nginx before 1.25.1."""
    one = scope.last("ssl")
    report.claim(one)
    return one is not None and one.args == ("on",)


def _http2(scope: Scope, report: Report) -> object | None:
    """``http2``, of nginx since 1.25.1; before that it is a word of ``listen``."""
    one = scope.last("http2")
    report.claim(one)
    return Said(True, one.place) if one is not None and one.args == ("on",) else None


def _webroot(scope: Scope) -> object | None:
    for one in scope.innermost.all("location"):
        if (directory := challenges(scope.inside(one))) is not None:
            return Said(directory, one.place)
    return None


def _short(listener: Said) -> object:
    """A bare address where there is nothing else to say."""
    section = listener.value
    assert isinstance(section, dict)
    return Said(section["listen"], listener.comment) if len(section) == 1 else listener


def _address(written: str) -> str:
    return written if written.isdecimal() else with_port(written)


def _section(one: Directive, scope: Scope, report: Report) -> dict[str, object]:
    report.claim(one)
    section: dict[str, object] = {"listen": _address(one.args[0])}
    for word in one.args[1:]:
        name, _, value = word.partition("=")
        if name == "backlog" and value.isdecimal():
            section["backlog"] = int(value)
        elif name == "ipv6only":
            section["ipv6only"] = value != "off"
        elif word == "proxy_protocol":
            section["proxy_protocol"] = proxy_protocol(one, scope, report)
        elif word == "http2":
            section["http2"] = True
        elif word == "spdy":
            report.differs(one, "HTTP/1.1 is spoken")
    return section
