"""The header block that a server receives (nginx ``proxy_set_header``).

Order as nginx writes it: the set headers, the framing, then the client's own fields in their
order and case, without those that were set or end at this hop.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from synproxy.core.fields import tokens
from synproxy.core.head import HeaderBlock
from synproxy.core.variables import RequestView, Scope, Template, Variables
from synproxy.errors import DownstreamError

_NO_HOST: Final = b"Host: \r\n"
"""What a request without an authority has to say so in HTTP/1.1 (RFC 9112 section 3.2); a server
must refuse one that says nothing. Only HTTP/1.0 clients send none."""

_UNSAFE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class HeadPlan:
    """How one route rewrites request fields, compiled.

    The result depends on the request line only when ``cacheable`` is false.
    """

    __slots__ = ("_has_host", "_replaced", "_set", "cacheable")

    def __init__(self, set_header: Mapping[str, str], variables: Variables) -> None:
        self._set: list[tuple[bytes, bytes, Template]] = [
            (name.encode(), name.lower().encode(), variables.template(text))
            for name, text in set_header.items()
        ]
        self._replaced = frozenset(lower for _, lower, _ in self._set)
        self._has_host = all(text for name, text in set_header.items() if name.lower() == "host")
        self.cacheable = all(template.scope <= Scope.HEADERS for _, _, template in self._set)

    def render(self, view: RequestView, block: HeaderBlock) -> tuple[bytes, bytes | None, bool]:
        """The lines after the request line with the closing empty line, up to the value of
        ``Content-Length`` and from there on (None: there is none), and whether the server is asked
        to close its connection.

        :raises DownstreamError: 400, a value would break out of its line.
        """
        lines: list[bytes] = []
        close = False
        for name, lower, template in self._set:
            value = template.render(view)
            if value:  # an empty value removes the header, as in nginx
                if _UNSAFE.search(value) is not None:
                    # $uri and named groups are percent-decoded: %0D%0A must not end the line.
                    raise DownstreamError(400, f"control characters in the value for {name!r}")
                lines.append(b"%b: %b\r\n" % (name, value))
                if lower == b"connection":
                    close = b"close" in tokens(value)
            elif lower == b"host" and self._has_host:
                lines.append(_NO_HOST)
        if block.chunked:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        before: bytes | None = None
        if not block.chunked and block.content_length is not None:
            lines.append(b"Content-Length: ")
            before = b"".join(lines)
            lines = [b"\r\n"]
        replaced = self._replaced
        if not block.host and b"host" not in replaced:
            lines.append(_NO_HOST)
        lines += [line for lower, line in block.forwarded if lower not in replaced]
        lines.append(b"\r\n")
        rest = b"".join(lines)
        return (rest, None, close) if before is None else (before, rest, close)


def with_length(before: bytes, after: bytes | None, length: int | None) -> bytes:
    """What :meth:`HeadPlan.render` gave, as one."""
    if after is None:
        return before
    assert length is not None
    return b"%b%d%b" % (before, length, after)
