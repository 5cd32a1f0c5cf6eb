"""nginx's variables and the templates that use them.

Values are nginx's, byte for byte (ngx_http_variables.c, release 1.22); ``$room_id``,
``$synapse_user`` and ``$x_matrix_origin`` are ours. This module must not know
who asks, and opens nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping

from synproxy.config.model import Map
from synproxy.config.variable_names import template_parts
from synproxy.core.maps import compile_map
from synproxy.core.matrix_keys import room_id, x_matrix_origin
from synproxy.core.template import (
    FieldsView,
    Render,
    RequestNeededError,
    RequestView,
    Scope,
    Template,
    constant_template,
    join_templates,
    passing,
)
from synproxy.core.user_key import UserKeys

__all__ = ["FieldsView", "RequestNeededError", "RequestView", "Scope", "Template", "Variables"]

_AMPERSAND = 0x26
_SPACE = 0x20
_EQUALS = 0x3D
_HOST_NAME = os.uname().nodename.lower().encode()


def _proxy_add_x_forwarded_for(view: RequestView) -> bytes:
    received = view.header(b"x-forwarded-for")
    return b"%b, %b" % (received, view.remote_addr) if received else view.remote_addr


def _content_length(view: RequestView) -> bytes:
    """A header block that comes again may have another length than it had."""
    passing(view)
    return view.header(b"content-length")


_BUILTINS: Mapping[str, tuple[Scope, Render]] = {
    "args": (Scope.REQUEST, lambda view: view.query),
    "content_length": (Scope.REQUEST, _content_length),
    "content_type": (Scope.HEADERS, lambda view: view.header(b"content-type")),
    "document_uri": (Scope.REQUEST, lambda view: view.path),
    "host": (Scope.HEADERS, lambda view: view.host),
    "hostname": (Scope.CONSTANT, lambda view: _HOST_NAME),
    "https": (Scope.HEADERS, lambda view: b"on" if view.scheme == b"https" else b""),
    "is_args": (Scope.REQUEST, lambda view: b"?" if view.query else b""),
    "proxy_add_x_forwarded_for": (Scope.HEADERS, _proxy_add_x_forwarded_for),
    "proxy_protocol_addr": (Scope.CONNECTION, lambda view: view.proxy_protocol[0]),
    "proxy_protocol_port": (Scope.CONNECTION, lambda view: view.proxy_protocol[1]),
    "proxy_protocol_server_addr": (Scope.CONNECTION, lambda view: view.proxy_protocol[2]),
    "proxy_protocol_server_port": (Scope.CONNECTION, lambda view: view.proxy_protocol[3]),
    "query_string": (Scope.REQUEST, lambda view: view.query),
    "realip_remote_addr": (Scope.CONNECTION, lambda view: view.socket_peer[0]),
    "realip_remote_port": (Scope.CONNECTION, lambda view: view.socket_peer[1]),
    # What trusted proxies say of the client stands in the fields.
    "remote_addr": (Scope.HEADERS, lambda view: view.remote_addr),
    "remote_port": (Scope.HEADERS, lambda view: view.remote_port),
    "request": (
        Scope.REQUEST,
        lambda view: b"%b %b %b" % (view.method, view.target, view.version),
    ),
    "request_id": (Scope.REQUEST, lambda view: view.request_id),
    "request_method": (Scope.REQUEST, lambda view: view.method),
    "request_uri": (Scope.REQUEST, lambda view: view.target),
    "room_id": (Scope.REQUEST, room_id),
    "scheme": (Scope.HEADERS, lambda view: view.scheme),
    "server_addr": (Scope.CONNECTION, lambda view: view.server_addr),
    "server_port": (Scope.CONNECTION, lambda view: view.server_port),
    "server_protocol": (Scope.REQUEST, lambda view: view.version),
    "ssl_cipher": (Scope.CONNECTION, lambda view: view.ssl_cipher),
    "ssl_protocol": (Scope.CONNECTION, lambda view: view.ssl_protocol),
    "ssl_server_name": (Scope.CONNECTION, lambda view: view.ssl_server_name),
    # What is known of a token's owner changes between two requests of one connection.
    "synapse_user": (Scope.REQUEST, UserKeys().key),
    "uri": (Scope.REQUEST, lambda view: view.path),
    "x_matrix_origin": (Scope.HEADERS, x_matrix_origin),
}


def _argument(name: str) -> Render:
    """``$arg_NAME``: the first ``NAME=`` of the query, raw; a NAME without ``=`` does not count.

    Source: ngx_http_arg().
    """
    needle = name.encode() + b"="
    length = len(needle)

    def render(view: RequestView) -> bytes:
        query = view.query
        folded = query.lower()
        at = folded.find(needle)
        while at > 0 and folded[at - 1] != _AMPERSAND:
            at = folded.find(needle, at + 1)
        if at < 0:
            return b""
        end = query.find(b"&", at + length)
        return query[at + length :] if end < 0 else query[at + length : end]

    return render


def _header(name: str) -> Render:
    """``$http_NAME``: an underscore stands for a dash."""
    field = name.replace("_", "-").encode()
    return lambda view: view.header(field)


def _cookie(name: str) -> Render:
    wanted = name.encode()
    return lambda view: cookie_value(view.header(b"cookie"), wanted)


def cookie_value(header: bytes, name: bytes) -> bytes:
    """``$cookie_NAME`` in a Cookie field; ``name`` is in lower case.

    Pairs are separated by ``;`` or ``,`` but a value ends at ``;`` only, and a name without ``=``
    swallows the pair after it: ngx_http_parse_multi_header_lines() is followed to the letter.
    """
    folded = header.lower()
    end = len(header)
    at = 0
    while at < end:
        if folded.startswith(name, at):
            at = _skip_spaces(header, at + len(name))
            if at < end and header[at] == _EQUALS:
                at = _skip_spaces(header, at + 1)
                last = header.find(b";", at)
                return header[at:] if last < 0 else header[at:last]
            at += 1
        while at < end and header[at] not in b";,":
            at += 1
        at = _skip_spaces(header, at + 1)
    return b""


def _skip_spaces(text: bytes, at: int) -> int:
    while at < len(text) and text[at] == _SPACE:
        at += 1
    return at


_PREFIXES: Mapping[str, tuple[Scope, Callable[[str], Render]]] = {
    "arg_": (Scope.REQUEST, _argument),
    "cookie_": (Scope.HEADERS, _cookie),
    "http_": (Scope.HEADERS, _header),
}


def _capture(name: str) -> Render:
    return lambda view: view.captures.get(name, b"")


class _MapError(ValueError):
    """A problem that already says in which map it is."""


class Variables:
    """The maps of one configuration, compiled, and every other variable.

    ``captures`` are the names of the groups in the routes' regexes. Names do not tell case apart
    (nginx). ``users`` says what ``$synapse_user`` is worth; without it nobody is asked. Raises
    ValueError for an unknown variable, a cycle of maps, or a bad map.
    """

    __slots__ = ("_builtins", "_captures", "_declared", "_maps", "_open", "_templates")

    def __init__(
        self,
        maps: Mapping[str, Map],
        captures: Iterable[str] = (),
        users: UserKeys | None = None,
    ) -> None:
        self._builtins = dict(_BUILTINS)
        if users is not None:
            self._builtins["synapse_user"] = (Scope.REQUEST, users.key)
        self._captures = {name.lower(): name for name in captures}
        self._declared: dict[str, Map] = {}
        for name, declared in maps.items():
            folded = name.lower()
            if folded in self._builtins:
                raise ValueError(f"the map ${name} has the name of a builtin variable")
            if folded in self._declared:
                raise ValueError(f"the map ${name} exists twice (case does not count)")
            self._declared[folded] = declared
        self._maps: dict[str, tuple[Scope, Render]] = {}
        self._open: list[str] = []
        self._templates: dict[str, Template] = {}
        for name in self._declared:
            self._map(name)

    def template(self, text: str) -> Template:
        """Compile ``text``, equal texts to the same template; raises ValueError for a variable
        that does not exist."""
        known = self._templates.get(text)
        if known is None:
            parts = [
                self._variable(part) if is_name else constant_template(part)
                for part, is_name in template_parts(text)
            ]
            known = self._templates[text] = join_templates(text, parts)
        return known

    def _variable(self, written: str) -> Template:
        name = written.lower()
        text = f"${written}"
        if name in self._declared:
            return Template(text, *self._map(name))
        if name == "http_content_length":
            name = "content_length"
        if name in self._builtins:
            return Template(text, *self._builtins[name])
        for prefix, (scope, make) in _PREFIXES.items():
            if name.startswith(prefix) and name != prefix:
                return Template(text, scope, make(name.removeprefix(prefix)))
        if name in self._captures:
            return Template(text, Scope.REQUEST, _capture(self._captures[name]))
        raise ValueError(f"unknown variable {text}")

    def _map(self, name: str) -> tuple[Scope, Render]:
        if name in self._maps:
            return self._maps[name]
        if name in self._open:
            cycle = [*self._open[self._open.index(name) :], name]
            path = " -> ".join(f"${step}" for step in cycle)
            raise _MapError(f"maps read each other in a cycle: {path}")
        self._open.append(name)
        try:
            self._maps[name] = compile_map(self._declared[name], self.template)
        except _MapError:
            raise
        except ValueError as error:
            raise _MapError(f"in the map ${name}: {error}") from error
        finally:
            self._open.pop()
        return self._maps[name]
