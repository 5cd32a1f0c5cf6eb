"""Addresses as nginx's ``listen`` and ``server`` write them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import PurePath

MAX_UNIX_PATH = 107
"""Bytes; the kernel's ``sun_path`` with its closing NUL is 108 (unix(7))."""


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host (name or address, without brackets) and a port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A path in the file system."""

    path: str


def parse_listen(text: str) -> TcpAddress | UnixAddress:
    """``8008``, ``127.0.0.1:8008``, ``[::]:8008``, ``*:8008`` or ``unix:/path``.

    A port alone listens on all IPv4 addresses, as in nginx.

    :raises ValueError: anything else.
    """
    if text.startswith("unix:"):
        return _unix(text)
    host, port = _host_and_port(text) if ":" in text else ("*", text)
    if host == "*":
        host = "0.0.0.0"  # noqa: S104 -- what the user asked for
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if host != "localhost":
            raise ValueError(f"expected an IP address to listen on, got {host!r}") from None
        host = "127.0.0.1"
    return TcpAddress(host, _port(port))


def parse_server(text: str) -> TcpAddress | UnixAddress:
    """``unix:/path`` or ``host:port``; the port is 80 if absent, as in nginx.

    :raises ValueError: anything else.
    """
    if text.startswith("unix:"):
        return _unix(text)
    if text.count(":") == 0 or (text.startswith("[") and text.endswith("]")):
        text += ":80"
    host, port = _host_and_port(text)
    return TcpAddress(host, _port(port))


def _unix(text: str) -> UnixAddress:
    path = text[len("unix:") :]
    if not path.startswith("/"):
        raise ValueError("expected an absolute path after unix:")
    length = len(path.encode())
    if length > MAX_UNIX_PATH:
        raise ValueError(f"the socket path has {length} bytes, the kernel allows {MAX_UNIX_PATH}")
    return UnixAddress(path)


def _host_and_port(text: str) -> tuple[str, str]:
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        ipaddress.IPv6Address(host)
    elif ":" in host:
        raise ValueError(f"expected an IPv6 address in brackets, as in [::1]:{port}")
    if not host or any(c.isspace() or c == "/" for c in host):
        raise ValueError("expected host:port or unix:/path")
    return host, port


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise ValueError(f"expected a port from 1 to 65535, got {text!r}")
    return int(text)


def host_and_port(host: str, port: int | str) -> str:
    """``host:port``, with brackets around an IPv6 address (RFC 3986 section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def short_name(address: str) -> str:
    """What people call a server: ``unix:/run/matrix-synapse/inbound_login.sock`` is
    ``inbound_login``."""
    return PurePath(address[5:]).stem if address.startswith("unix:") else address
