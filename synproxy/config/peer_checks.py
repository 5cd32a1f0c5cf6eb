"""Whose word counts: the networks of ``proxy_protocol`` and ``trusted_proxies``, and of ``limits``.

Part of ``references``: works on the tree as written, and leaves wrong types to the model.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from synproxy.config.document import Document, Path
from synproxy.config.wording import quoted

_NETWORK = re.compile(r"[^/%]+(?:/[0-9]{1,3})?")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^`|~-]+")  # RFC 9110 section 5.6.2, without "_"


def check_peers(document: Document, tree: Mapping[str, object]) -> None:
    """Report every mistake of this kind."""
    listeners, http = tree.get("listeners"), tree.get("http")
    for index, listener in enumerate(listeners if isinstance(listeners, list) else ()):
        if isinstance(listener, dict):
            section = listener.get("proxy_protocol")
            _check_networks(document, ("listeners", index, "proxy_protocol"), section)
    section = http.get("trusted_proxies") if isinstance(http, dict) else None
    path: Path = ("http", "trusted_proxies")
    _check_networks(document, path, section)
    limits = tree.get("limits")
    exempt = limits.get("exempt") if isinstance(limits, dict) else None
    _check_networks(document, ("limits", "exempt"), exempt)
    header = section.get("header") if isinstance(section, dict) else None
    if isinstance(header, str) and not _TOKEN.fullmatch(header):
        message = f"header: expected a field such as X-Forwarded-For, got {quoted(header)}"
        document.at_value((*path, "header"), message)


def _check_networks(document: Document, path: Path, section: object) -> None:
    if isinstance(section, dict):
        section, path = section.get("networks"), (*path, "networks")
    for index, network in enumerate(section if isinstance(section, list) else ()):
        if isinstance(network, str):
            check_network(document, (*path, index), network, 'or "unix:"')


def check_network(document: Document, path: Path, value: str, others: str) -> None:
    """``value`` is an address, a network or ``unix:``; ``others``: what else there is, in words."""
    if value == "unix:":
        return
    try:
        if not _NETWORK.fullmatch(value):
            raise ValueError
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        wanted = f"expected an address, a network such as 10.0.0.0/8, {others}"
        document.at_value(path, f"{wanted}, got {quoted(value)}")
        return
    address = ipaddress.ip_address(value.partition("/")[0])
    if address != network.network_address:
        message = f"{quoted(value)} is an address inside a network, not a network"
        document.at_value(path, message, f"write {network}, or {address} alone")
