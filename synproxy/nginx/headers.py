"""The header fields that servers get: ``proxy_set_header`` with nginx's defaults.

Source: https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_set_header
"""

from __future__ import annotations

from synproxy.nginx.draft import Said
from synproxy.nginx.maps import Maps
from synproxy.nginx.report import Report
from synproxy.nginx.scope import Scope
from synproxy.nginx.templates import Names

FRAMING = {"content-length", "transfer-encoding"}


def set_header(
    location: Scope, host: str, names: Names, maps: Maps, report: Report
) -> dict[str, object]:
    """The table for one location; ``host`` is nginx's default for ``Host``, its $proxy_host."""
    table: dict[str, object] = {}
    seen: set[str] = set()
    for one in location.inherited("proxy_set_header"):
        if len(one.args) != 2:
            report.lost(one, "a name and a value are needed")
            continue
        name, written = one.args
        if name.lower() in FRAMING:
            report.needless(one, "it follows from the request")
            continue
        try:
            value = names.translate(written)
            maps.need(value, names.texts)
        except ValueError as error:
            report.lost(one, f"{error}: servers get the client's own {name}, if there is one")
            continue
        report.claim(one)
        if name.lower() in seen:
            report.lost(one, f"{name} is set twice: servers get the first one")
            continue
        seen.add(name.lower())
        table[name] = Said(value, one.place)
    if "host" not in seen:
        table["Host"] = Said(names.translate(host), "nginx's default, $proxy_host")
    if "connection" not in seen:
        # nginx's default is "close", which would end every connection to a server.
        table["Connection"] = Said("", "nginx's default is close; so connections are kept")
        if "upgrade" not in seen:
            table["Upgrade"] = Said("", "as nginx, which asks for no upgrade by itself")
    return table
