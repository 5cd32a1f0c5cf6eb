"""Who is believed whose a request is: the realip module, and ``listen ... proxy_protocol``.

Source: https://nginx.org/en/docs/http/ngx_http_realip_module.html
"""

from __future__ import annotations

import ipaddress

from synproxy.nginx.draft import Said
from synproxy.nginx.report import Report
from synproxy.nginx.scope import Scope
from synproxy.nginx.tree import Directive

_ANYBODY = ("0.0.0.0/0", "::/0", "unix:")


def trusted_proxies(scope: Scope, report: Report) -> dict[str, object]:
    """``http.trusted_proxies``; empty: no field is believed."""
    networks = _networks(scope, report)
    header = scope.last("real_ip_header")
    if header is not None:
        report.claim(header)
    name = header.args[0] if header is not None and header.args else "X-Real-IP"
    if not networks or name.lower() == "proxy_protocol":
        return {}
    said = Said(name, header.place if header is not None else "nginx's default")
    section: dict[str, object] = {"networks": networks, "header": said}
    recursive = scope.last("real_ip_recursive")
    if recursive is not None:
        report.claim(recursive)
    section["recursive"] = recursive is not None and recursive.args[:1] == ("on",)
    section["proto"] = Said(False, "as in nginx; on: X-Forwarded-Proto is $scheme")
    return section


def proxy_protocol(listen: Directive, scope: Scope, report: Report) -> object:
    """``proxy_protocol`` of a listener. nginx takes the header from everybody, and only has its
    address for the client's where ``real_ip_header proxy_protocol`` says so."""
    networks = _networks(scope, report)
    header = scope.last("real_ip_header")
    if header is not None and header.args[:1] == ("proxy_protocol",) and networks:
        return networks
    meaning = "the PROXY protocol's address is the client's; write the balancers' own addresses"
    report.differs(listen, f"{meaning} instead of everybody's")
    return list(_ANYBODY)


def _networks(scope: Scope, report: Report) -> list[object]:
    found: list[object] = []
    for one in scope.inherited("set_real_ip_from"):
        text = one.args[0] if one.args else ""
        try:
            if text != "unix:":
                text = str(ipaddress.ip_network(text, strict=False)).removesuffix("/32")
        except ValueError:
            report.lost(one, "a name is not looked up: write its addresses")
            continue
        report.claim(one)
        found.append(Said(text, one.place))
    return found
