"""What of a request may be shown: explanations get pasted into bug reports.

Must not know configurations. A token is never shown; who it belongs to is, when Synapse wrote
that into the token itself.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from synproxy.core.printable import show
from synproxy.core.redact import REDACTED, redact
from synproxy.explain.offline import Request

_LOCALPART = re.compile(rb"syt_([A-Za-z0-9+/=_%-]+?)_")  # synapse/handlers/auth.py
_SHORTEST = 4  # bytes; a shorter part of a token is not one


class Secrets:
    """The credentials of one request."""

    def __init__(self, request: Request) -> None:
        self._values = [value for value in _credentials(request) if len(value) >= _SHORTEST]

    def touched_by(self, value: bytes) -> bool:
        """Whether `value` contains a credential or is a part of one."""
        if len(value) < _SHORTEST:
            return False
        return any(value in secret or secret in value for secret in self._values)

    def shown(self, value: bytes) -> str:
        """`value` without credentials."""
        text = redact(show(value))
        return REDACTED if self.touched_by(text.encode()) else text

    def shown_key(self, key: bytes) -> tuple[str, str]:
        """A sticky key without credentials, and what it is: empty, plain, localpart or hash."""
        if not key:
            return "", "empty"
        if not self.touched_by(key):
            return redact(show(key)), "plain"
        for secret in self._values:
            found = _LOCALPART.search(secret)
            if found is not None and key in (found[1], _decoded(found[1])):
                return show(_decoded(found[1])), "localpart"
        return hashlib.sha256(key).hexdigest()[:12], "hash"


def _credentials(request: Request) -> Iterator[bytes]:
    authorization = request.header(b"authorization")
    scheme, _, credentials = authorization.partition(b" ")
    if scheme.lower() == b"x-matrix":  # only the signature is; origin and key are public
        yield from re.findall(rb'sig="?([^",]+)', credentials)
    else:
        yield from (authorization, credentials)
    yield request.header(b"cookie")
    for part in request.query.split(b"&"):
        _, _, value = part.partition(b"=")
        if value and redact(show(part)) != show(part):
            yield from (value, unquote_to_bytes(value))


def _decoded(localpart: bytes) -> bytes:
    """The base64 in a token decoded; as it is if it is none."""
    try:
        return base64.b64decode(localpart + b"=" * (-len(localpart) % 4), validate=True)
    except binascii.Error:
        return localpart
