"""Templates: a text with variables, compiled to one function of the request.

This module must not know any variable; who compiles says what a name is worth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


class RequestView(Protocol):
    """What templates and maps may read of a request; implemented by the data path."""

    @property
    def method(self) -> bytes:
        """``GET``"""

    @property
    def target(self) -> bytes:
        """The raw request-target, as received."""

    @property
    def path(self) -> bytes:
        """The normalised path."""

    @property
    def query(self) -> bytes:
        """Raw, without the question mark."""

    @property
    def version(self) -> bytes:
        """``HTTP/1.1``"""

    @property
    def scheme(self) -> bytes:
        """``http`` or ``https``"""

    @property
    def remote_addr(self) -> bytes:
        """``192.0.2.1``, ``2001:db8::1``, ``unix:``"""

    @property
    def remote_port(self) -> bytes: ...

    @property
    def socket_peer(self) -> tuple[bytes, bytes]:
        """Address and port of the other end of the socket, whatever proxies say of the client."""

    @property
    def proxy_protocol(self) -> tuple[bytes, bytes, bytes, bytes]:
        """The client's address and port and the server's, as a PROXY protocol header has them;
        empty without one."""

    @property
    def server_addr(self) -> bytes: ...

    @property
    def server_port(self) -> bytes: ...

    @property
    def ssl_protocol(self) -> bytes:
        """``TLSv1.3``; empty without TLS, as the next two."""

    @property
    def ssl_cipher(self) -> bytes:
        """``TLS_AES_256_GCM_SHA384``"""

    @property
    def ssl_server_name(self) -> bytes:
        """The name that the client asked for in its hello (SNI)."""

    @property
    def host(self) -> bytes:
        """Lower case, no port, from the target's authority or the Host field."""

    @property
    def request_id(self) -> bytes: ...

    @property
    def captures(self) -> Mapping[str, bytes]:
        """The named groups of the route's regex."""

    def header(self, name: bytes) -> bytes:
        """The first value of a field (``cookie``: all, joined by ``"; "``), or nothing.

        ``name`` is in lower case.
        """


class RequestNeededError(Exception):
    """A value depends on more than the connection and the header fields."""


class FieldsView:
    """Of a request, what stays the same for all requests with its header fields on its
    connection. Anything else raises :class:`RequestNeededError`, so that what could be rendered
    from this view alone may be remembered."""

    __slots__ = ("_view",)

    def __init__(self, view: RequestView) -> None:
        self._view = view

    def __getattr__(self, name: str) -> object:
        if name in _STEADY:
            return getattr(self._view, name)
        raise RequestNeededError(name)


def passing(view: RequestView) -> None:
    """To be called by what renders a value that may be another one for the next request, though
    the fields are the same: one that was looked up, or depends on the time."""
    if isinstance(view, FieldsView):
        raise RequestNeededError("a passing value")


_STEADY = frozenset(
    {
        "header",
        "host",
        "proxy_protocol",
        "remote_addr",
        "remote_port",
        "scheme",
        "server_addr",
        "server_port",
        "socket_peer",
        "ssl_cipher",
        "ssl_protocol",
        "ssl_server_name",
    }
)


class Scope(IntEnum):
    """The narrowest thing a value depends on: within it, the value stays the same."""

    CONSTANT = 0
    CONNECTION = 1
    HEADERS = 2
    REQUEST = 3


Render = Callable[[RequestView], bytes]


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled text; ``render`` gives its value for a request and never fails."""

    text: str
    scope: Scope
    render: Render
    constant: bytes | None = None
    """The value, if it is the same for all requests and known at once."""


def constant_template(text: str) -> Template:
    """A text without variables."""
    value = text.encode()
    return Template(text, Scope.CONSTANT, lambda view: value, value)


def join_templates(text: str, parts: Sequence[Template]) -> Template:
    """The concatenation of ``parts``."""
    constants = [part.constant for part in parts if part.constant is not None]
    if len(constants) == len(parts):
        value = b"".join(constants)
        return Template(text, Scope.CONSTANT, lambda view: value, value)
    scope = max(part.scope for part in parts)
    renders = [part.render for part in parts]
    if len(renders) == 1:
        return Template(text, scope, renders[0])
    if len(renders) == 2:
        first, second = renders
        return Template(text, scope, lambda view: first(view) + second(view))
    return Template(text, scope, lambda view: b"".join([render(view) for render in renders]))
