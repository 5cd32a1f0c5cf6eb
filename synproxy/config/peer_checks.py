"""Who is at the other end: networks of listeners, proxies and limits, and names in DNS.

Part of ``references``: works on the tree as written, and leaves wrong types to the model.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from synproxy.config.document import Document, Path
from synproxy.config.wording import quoted

_NETWORK = re.compile(r"[^/%]+(?:/[0-9]{1,3})?")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_SERVICE = re.compile(rf"_[A-Za-z0-9-]+\._(?:tcp|udp)(?:\.{_LABEL})+\.?")
_NAMESERVER = re.compile(
    r"(?P<four>[0-9.]+)(?::[0-9]{1,5})?|\[(?P<six>[^\]]+)\](?::[0-9]{1,5})?|(?P<bare>[0-9A-Fa-f:]+)"
)
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^`|~-]+")  # RFC 9110 section 5.6.2, without "_"


def check_peers(document: Document, tree: Mapping[str, object]) -> None:
    """Report every mistake of this kind."""
    listeners, http = tree.get("listeners"), tree.get("http")
    for index, listener in enumerate(listeners if isinstance(listeners, list) else ()):
        if isinstance(listener, dict):
            section = listener.get("proxy_protocol")
            _check_networks(document, ("listeners", index, "proxy_protocol"), section)
    section = http.get("trusted_proxies") if isinstance(http, dict) else None
    _check_resolver(document, tree.get("resolver"))
    path: Path = ("http", "trusted_proxies")
    _check_networks(document, path, section)
    limits = tree.get("limits")
    exempt = limits.get("exempt") if isinstance(limits, dict) else None
    _check_networks(document, ("limits", "exempt"), exempt)
    header = section.get("header") if isinstance(section, dict) else None
    if isinstance(header, str) and not _TOKEN.fullmatch(header):
        message = f"header: expected a field such as X-Forwarded-For, got {quoted(header)}"
        document.at_value((*path, "header"), message)


def check_name(document: Document, path: Path, text: str) -> None:
    """``text`` is the address of a server with ``resolve: on``."""
    host, _, port = text.rpartition(":")
    if text.startswith("_"):
        if not _SERVICE.fullmatch(text):
            wanted = "address: expected an SRV name such as _synapse._tcp.example.org"
            document.at_value(path, f"{wanted}, got {quoted(text)}", "the records have the ports")
    elif not (_NAME.fullmatch(host) and port.isascii() and port.isdigit()):
        wanted = "address: expected a name and a port, as in workers.example.org:8008"
        hint = "resolve: on is for names in DNS"
        document.at_value(path, f"{wanted}, got {quoted(text)}", hint)
    elif not 1 <= int(port) <= 65535:
        document.at_value(path, f"address: expected a port from 1 to 65535, got {quoted(text)}")
    elif re.fullmatch(r"[0-9.]+", host):
        hint = "remove resolve: on, or write a name"
        document.at_value(path, f"address: {quoted(text)} is an address already", hint)


def _check_resolver(document: Document, section: object) -> None:
    servers = section.get("nameservers") if isinstance(section, dict) else None
    for index, server in enumerate(servers if isinstance(servers, list) else ()):
        if not isinstance(server, str):
            continue
        found = _NAMESERVER.fullmatch(server)
        try:
            ipaddress.ip_address(found["four"] or found["six"] or found["bare"] if found else "")
        except ValueError:
            wanted = "expected an IP address, with a port if it is not 53, as in 127.0.0.1:5353"
            document.at_value(("resolver", "nameservers", index), f"{wanted}, got {quoted(server)}")


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
