"""The nginx variables that templates may use, and where they stand in a text.

Names only: what a variable is worth for a request is the concern of ``core``.
"""

from __future__ import annotations

import re

BUILTIN_VARIABLES = frozenset(
    {
        "args",
        "content_length",
        "content_type",
        "document_uri",
        "host",
        "hostname",
        "https",
        "is_args",
        "proxy_add_x_forwarded_for",
        "proxy_protocol_addr",
        "proxy_protocol_port",
        "proxy_protocol_server_addr",
        "proxy_protocol_server_port",
        "query_string",
        "realip_remote_addr",
        "realip_remote_port",
        "remote_addr",
        "remote_port",
        "request",
        "request_id",
        "request_method",
        "request_uri",
        "room_id",
        "scheme",
        "server_addr",
        "server_port",
        "server_protocol",
        "ssl_cipher",
        "ssl_protocol",
        "ssl_server_name",
        "synapse_user",
        "uri",
        "x_matrix_origin",
    }
)
"""Every builtin variable without a free part in its name: nginx's
(https://nginx.org/en/docs/varindex.html), and three that know Matrix."""

LOG_VARIABLES = frozenset(
    {
        "args",
        "body_bytes_received",
        "body_bytes_sent",
        "end_reason",
        "host",
        "http_referer",
        "http_user_agent",
        "msec",
        "pool",
        "query_string",
        "remote_addr",
        "remote_user",
        "request",
        "request_id",
        "request_method",
        "request_time",
        "request_uri",
        "route",
        "scheme",
        "server_protocol",
        "status",
        "time_iso8601",
        "time_local",
        "upstream_addr",
        "upstream_connect_time",
        "upstream_header_time",
        "upstream_response_time",
        "upstream_status",
    }
)
"""What a log format may use: what is known when a request has ended, and holds no credentials."""

VARIABLE_PREFIXES = ("arg_", "cookie_", "http_")
"""``$arg_since``, ``$cookie_session``, ``$http_upgrade``: the rest of the name is free."""

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")


def is_builtin(name: str) -> bool:
    """Whether ``name`` (without ``$``) is a variable that needs no map."""
    return name in BUILTIN_VARIABLES or any(
        name.startswith(prefix) and name != prefix for prefix in VARIABLE_PREFIXES
    )


def template_parts(text: str) -> list[tuple[str, bool]]:
    """Cut a template into ``(text, False)`` and ``(variable name, True)``, in order.

    Raises ValueError for a ``$`` that starts no name: nginx refuses it too and has no escape.
    """
    parts: list[tuple[str, bool]] = []
    position = 0
    while (dollar := text.find("$", position)) >= 0:
        found = _VARIABLE.match(text, dollar)
        if found is None:
            raise ValueError(
                'expected a variable name after "$", as in $host or ${host}; '
                'a "$" by itself cannot be written'
            )
        if dollar > position:
            parts.append((text[position:dollar], False))
        parts.append((found[1] or found[2], True))
        position = found.end()
    if position < len(text):
        parts.append((text[position:], False))
    return parts


def variable_names_in(text: str) -> list[str]:
    """The names after ``$`` in ``text``, in order and with repetitions; ValueError as above."""
    return [part for part, is_name in template_parts(text) if is_name]
