"""``$synapse_user``: who asks, so that a user's requests reach one worker whatever the token.

Tokens of Synapse's own (``syt_``) carry the localpart. Others (``mat_`` and its like from
matrix-authentication-service, those of application services, of guests) say nothing: who they
belong to is asked once, elsewhere, and kept here under a hash of the token. A token itself is never
kept. The key chooses a server and nothing else, so none of this has to be proved.

This module has no clock and asks nobody; its books change through ``learn`` and ``reject``.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from enum import StrEnum
from hashlib import blake2b
from typing import Final, NamedTuple, Protocol
from urllib.parse import unquote_to_bytes

from synproxy.core.memo import Memo
from synproxy.core.template import RequestView, passing

UNKNOWN_TTL: Final = 60.0
"""Seconds for which a token that nobody owns is not asked about again."""

FAILED_TTL: Final = 10.0
"""Seconds after which a look-up that got no answer is tried again."""

_LOCALPART_LIMIT: Final = 255
"""Bytes; a whole user id has no more (specification, appendices)."""

_BASE64_LIMIT: Final = 340
"""Characters of such a localpart in a token; longer ones are not remembered."""

_ASKABLE: Final = re.compile(rb"[!-~]{1,4096}")
"""What can be sent on as a token: it may have been percent-decoded, and must not end a line."""

_USER_ID: Final = re.compile(rb"@([^:]*):.+", re.DOTALL)

_LOCALPARTS: Final[Memo[bytes, bytes]] = Memo(4096)
"""By the base64 in the token: it holds no secret, only a name."""


class Source(StrEnum):
    """Where a key comes from."""

    TOKEN = "token"  # noqa: S105 -- the localpart was in it
    WHOAMI = "whoami"
    USER_ID = "user_id"
    """The parameter by which an application service says for whom it acts."""
    HASH = "hash"
    ADDRESS = "address"
    NOTHING = "nothing"


class Owner(NamedTuple):
    """Whose token it is. Without a localpart: nobody's, or nobody could say."""

    localpart: bytes
    acts_for_others: bool
    """It has no device, as a token of an application service: ``user_id`` says who is meant."""
    expires: float


class Clock(Protocol):
    """The timer wheel: seconds that never go back."""

    now: float


class Ask(Protocol):
    """Begins to find out who owns a token, unless that is under way; never waits."""

    def __call__(self, digest: bytes, token: bytes, view: RequestView) -> None: ...


class Owners:
    """Who owns which tokens: at most ``entries`` of them, each for ``ttl`` seconds."""

    __slots__ = ("_clock", "_known", "entries", "ttl")

    def __init__(self, entries: int, ttl: float, clock: Clock) -> None:
        self.entries = entries
        self.ttl = ttl
        self._clock = clock
        self._known: Memo[bytes, Owner] = Memo(entries)

    def __len__(self) -> int:
        return len(self._known)

    def find(self, digest: bytes) -> tuple[Owner | None, bool]:
        """What is known of a token, and whether that is still fresh.

        What has expired is better than nothing until a new answer is there.
        """
        owner = self._known.get(digest) or self._known.recall(digest)
        return owner, owner is not None and self._clock.now < owner.expires

    def known(self, digest: bytes) -> bytes | None:
        """The localpart of a token's owner, if that is all there is to know and is at hand."""
        owner = self._known.get(digest)
        if (
            owner is None
            or self._clock.now >= owner.expires
            or owner.acts_for_others
            or not owner.localpart
        ):
            return None
        return owner.localpart

    def learn(self, digest: bytes, status: int, body: bytes) -> None:
        """The answer to a look-up; ``status`` is 0 if there was none."""
        now = self._clock.now
        if status == 200 and (answer := parse_whoami(body)) is not None:
            self._known.store(digest, Owner(*answer, now + self.ttl))
        elif status == 401:
            self._known.store(digest, Owner(b"", False, now + min(UNKNOWN_TTL, self.ttl)))
        else:
            old, _ = self.find(digest)
            localpart, acts, _ = old or Owner(b"", False, 0.0)
            self._known.store(digest, Owner(localpart, acts, now + min(FAILED_TTL, self.ttl)))

    def drop(self, digest: bytes) -> None:
        """Synapse has refused the token: forget whose it was. That it is nobody's stays known."""
        owner, _ = self.find(digest)
        if owner is not None and owner.localpart:
            self._known.store(digest, Owner(b"", False, 0.0))


class UserKeys:
    """The values of ``$synapse_user``. Without ``owners`` and ``ask`` there are no look-ups."""

    __slots__ = ("_ask", "owners")

    def __init__(self, owners: Owners | None = None, ask: Ask | None = None) -> None:
        self.owners = owners
        self._ask = ask

    def key(self, view: RequestView) -> bytes:
        """The sticky key of a request; begins a look-up where one is needed."""
        authorization = view.header(b"authorization")
        # What is remembered, at little cost; the rest, and the rules, are in resolve.
        if authorization[:11] == b"Bearer syt_":
            end = authorization.find(b"_", 11)
            known = _LOCALPARTS.get(authorization[11:end])
            if known is not None and end > 0 and authorization.find(b" ", 11) < 0:
                return known
        elif self.owners is not None and authorization[:7] == b"Bearer ":
            passing(view)
            known = self.owners.known(token_digest(authorization[7:]))
            if known is not None:
                return known
        return self.resolve(view)[0]

    def resolve(self, view: RequestView) -> tuple[bytes, Source]:
        """The key, and where it comes from."""
        token = access_token(view.header(b"authorization"), view.query)
        if not token:
            if view.remote_addr == b"unix:":  # everybody's; an empty key spreads them
                return b"", Source.NOTHING
            return view.remote_addr, Source.ADDRESS
        localpart = localpart_in(token)
        if localpart:
            return localpart, Source.TOKEN
        digest = token_digest(token)
        owner = None
        if self.owners is not None:
            owner, fresh = self.owners.find(digest)
            if not fresh and self._ask is not None and _ASKABLE.fullmatch(token):
                self._ask(digest, token, view)
        if owner is None or not owner.localpart:
            return token_key(digest, view.query), Source.HASH
        if owner.acts_for_others:
            meant = localpart_of(argument(view.query, b"user_id"))
            if meant:
                return meant, Source.USER_ID
        return owner.localpart, Source.WHOAMI

    def refused(self, authorization: bytes, query: bytes) -> None:
        """Synapse has answered 401 to a request with these: forget whose token it is.

        That covers a soft logout. It is also how user-interactive authentication begins; to look
        the token up once more then does no harm.
        """
        if self.owners is not None:
            token = access_token(authorization, query)
            if token and not localpart_in(token):
                self.owners.drop(token_digest(token))


def access_token(authorization: bytes, query: bytes) -> bytes:
    """The token of a request, empty without one or with a field that Synapse refuses.

    Source: synapse/api/auth/base.py, get_access_token_from_request. A field and a parameter
    together, which Synapse refuses, count as the field; a token in the body of a form, which it
    would find, is not looked for.
    """
    if not authorization:
        return argument(query, b"access_token")
    scheme, _, token = authorization.partition(b" ")
    return token if scheme == b"Bearer" and b" " not in token else b""


def argument(query: bytes, name: bytes) -> bytes:
    """The first value of a parameter, decoded as Twisted does (twisted.web.http.parse_qs): pairs
    end at ``&`` or ``;``, ``+`` is a space, and names may be percent-encoded."""
    if name not in query and b"%" not in query:
        return b""
    for pair in query.replace(b";", b"&").split(b"&"):
        written, equals, value = pair.partition(b"=")
        if equals and (written == name or (b"%" in written and unquote_to_bytes(written) == name)):
            return unquote_to_bytes(value.replace(b"+", b" "))
    return b""


def localpart_in(token: bytes) -> bytes:
    """The localpart inside of ``syt_<unpadded base64>_<random>_<crc>``; empty if it is no such
    token (synapse/handlers/auth.py, generate_access_token)."""
    if token[:4] != b"syt_":
        return b""
    encoded, underscore, _ = token[4:].partition(b"_")
    if not underscore:
        return b""
    known = _LOCALPARTS.recall(encoded)
    if known is None:
        try:
            known = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
        except binascii.Error:
            return b""
        if known and len(encoded) <= _BASE64_LIMIT:
            _LOCALPARTS.store(encoded, known)
    return known


def token_digest(token: bytes) -> bytes:
    """The name under which a token is known: nothing leads back from it."""
    return blake2b(token, digest_size=16).digest()


def token_key(digest: bytes, query: bytes) -> bytes:
    """The key of a token that nobody is known to own. No localpart holds a colon.

    With ``user_id`` it may be an application service, whose users should not share a worker.
    """
    user_id = argument(query, b"user_id")
    return b"token:%b%b" % (digest[:8].hex().encode(), user_id and b"/" + user_id)


def localpart_of(user_id: bytes) -> bytes:
    """``@alice:example.org`` is ``alice``; empty if it is no user id."""
    match = _USER_ID.fullmatch(user_id)
    return match[1] if match is not None else b""


def parse_whoami(body: bytes) -> tuple[bytes, bool] | None:
    """Localpart, and whether the token acts for others too; None if the answer says nothing.

    Only a token without a device can be one of an application service (synapse/rest/client/
    account.py, WhoamiRestServlet).
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, dict) or not isinstance(user_id := answer.get("user_id"), str):
        return None
    localpart = localpart_of(user_id.encode("utf-8", "surrogatepass"))[:_LOCALPART_LIMIT]
    return (localpart, "device_id" not in answer) if localpart else None
