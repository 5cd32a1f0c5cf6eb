"""Sticky keys that stand in a request: the room it is about, and the homeserver that sent it.

Both are for choosing a server and nothing else; whether the request may be made is Synapse's to
judge. This module must not know who uses them.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from synproxy.core.memo import Memo
from synproxy.core.template import RequestView

_ROOM: Final = re.compile(
    rb"/_matrix/client/(?:[^/?]+/){1,6}?(?:rooms|join|knock|room_summary|summary)/([^/?]+)"
    rb"|/_matrix/federation/(?:v1|v2|unstable(?:/[^/?]+)?)/(?:rooms|backfill|event_auth"
    rb"|exchange_third_party_invite|extremities|get_missing_events|hierarchy|invite"
    rb"|make_join|make_knock|make_leave|query_auth|send_join|send_knock|send_leave"
    rb"|state|state_ids|timestamp_to_event)/([^/?]+)"
    rb"|/_synapse/admin/v[0-9]+/(?:rooms?|join|purge_history|quarantine_media)/([^/?]+)"
)
_USUAL: Final = re.compile(
    rb'X-Matrix origin=("?)([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*(?::[0-9]+)?)\1'
    rb',key=("?)[^",\\]+\3,sig=("?)[^",\\]+\4(?:,destination=("?)[^",\\]+\5)?'
)
"""As Synapse itself writes it: one match instead of a loop."""
_DECODED: Final[Memo[bytes, bytes]] = Memo(2048)
_DECODED_LIMIT: Final = 512
"""Bytes of a room id as written; longer ones are decoded every time."""
_ESCAPED: Final = re.compile(rb"\\(.)")
_SERVER_NAME: Final = re.compile(
    rb"(?:[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?"
)


def room_id(view: RequestView) -> bytes:
    """``$room_id``: the room in the path, percent-decoded; empty if it names none.

    Taken from the raw target, as Synapse's servlets do, and opaque: ids of room version 12 have no
    domain (MSC4291), and ``/join/`` and ``/knock/`` take aliases too.
    """
    match = _ROOM.match(view.target)
    if match is None:
        return b""
    found: bytes = match[match.lastindex or 0]
    if b"%" not in found:
        return found
    decoded = _DECODED.get(found) or _DECODED.recall(found)
    if decoded is None:
        decoded = unquote_to_bytes(found)
        if len(found) <= _DECODED_LIMIT:
            _DECODED.store(found, decoded)
    return decoded


def x_matrix_origin(view: RequestView) -> bytes:
    """``$x_matrix_origin``: the homeserver that signed the request, else the client's address.

    A request without a signature that Synapse could read has no origin either; the name is not
    verified here.
    """
    authorization = view.header(b"authorization")
    if authorization.startswith(b"X-Matrix "):
        return parse_x_matrix(authorization) or view.remote_addr
    return view.remote_addr


def parse_x_matrix(authorization: bytes) -> bytes:
    """The ``origin`` in an ``X-Matrix`` value; empty if Synapse would refuse the value.

    Values may be quoted or not, and a comma ends one either way.
    Source: synapse/federation/transport/server/_base.py, _parse_auth_header
    """
    usual = _USUAL.fullmatch(authorization)
    if usual is not None:
        return usual[2]
    parameters: dict[bytes, bytes] = {}
    for part in authorization[len(b"X-Matrix ") :].split(b","):
        name, equals, value = part.strip(b" \t").partition(b"=")
        if not equals:
            return b""
        parameters[name.lower()] = value
    if not parameters.keys() >= {b"origin", b"key", b"sig"}:
        return b""
    origin = parameters[b"origin"]
    if origin.startswith(b'"'):
        origin = _ESCAPED.sub(rb"\1", origin[1:-1])
    return origin if _SERVER_NAME.fullmatch(origin) else b""
