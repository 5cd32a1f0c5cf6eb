"""The id of each request: ours, or that of a proxy in front whose word we take (nginx
``$request_id``, HAProxy ``unique-id-header``)."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from synproxy.core.allowlist import Access

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synproxy.config.model import Allowlist, RequestId
    from synproxy.core.head import HeaderBlock
    from synproxy.downstream.client import Client

_WELL_FORMED: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
"""UUIDs, ULIDs, traceparent, nginx's 32 digits. Nothing that could end a line or need quotes in a
log, and no room for a joke at the expense of who reads it."""


def fresh() -> bytes:
    """16 random bytes in hexadecimal, as nginx makes them."""
    return os.urandom(16).hex().encode()


class RequestIds:
    """What a configuration says about ids, compiled."""

    __slots__ = ("_field", "_name", "_trusted", "responds")

    def __init__(self, settings: RequestId, allowlists: Mapping[str, Allowlist]) -> None:
        self._name = settings.header.encode()
        self._field = self._name.lower()
        self._trusted: Access | None = None
        if settings.trust is not None:
            self._trusted = Access([(settings.trust, allowlists[settings.trust])], "all")
        self.responds = settings.respond

    def of(self, block: HeaderBlock, client: Client) -> bytes:
        """The id of a request. Whether its own counts is up to who opened the connection, not to
        whom a trusted proxy speaks for."""
        if self._trusted is not None:
            given = block.value(self._field)
            if given and _WELL_FORMED.fullmatch(given) is not None:
                verdict = self._trusted.explain(client.peer[0])
                # A list without a rule for the address permits it; trust has to be said.
                if verdict.allowed and verdict.number:
                    return given
        return fresh()

    def line(self, request_id: bytes) -> bytes:
        """The field of an answer."""
        return b"%b: %b\r\n" % (self._name, request_id)
