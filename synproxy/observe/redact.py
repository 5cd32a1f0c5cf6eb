"""Hide secrets in request-targets and referers before they are written anywhere.

Must not know log formats. Hiding too much is fine, too little is not: a name counts wherever it
stands, in any case, with any of its characters percent-encoded, once or more often.
"""

from __future__ import annotations

import re

REDACTED = b"<redacted>"  # Synapse's own wording (synapse/http/__init__.py, redact_uri)

SECRET_SUFFIXES = (b"token", b"secret")
"""Parameters whose name ends so: access_token, loginToken, client_secret, refresh_token, and the
registration token's plain ``token``."""

SECRET_NAMES = (b"code", b"ticket", b"password", b"samlresponse")
"""Whole names: what OpenID Connect, CAS and SAML hand back to Synapse in a redirect."""

_HINTS = (*SECRET_SUFFIXES, *SECRET_NAMES)


def _encoded(text: bytes) -> bytes:
    """A pattern for `text` where every character may be percent-encoded, also repeatedly."""

    def one(char: int) -> bytes:
        forms = {char, *bytes([char]).upper()}
        hexes = b"|".join(b"%02x" % form for form in sorted(forms))
        plain = b"".join(re.escape(bytes([form])) for form in sorted(forms))
        return b"(?:[%b]|%%(?:25)*(?:%b))" % (plain, hexes)

    return b"".join(map(one, text))


_BOUNDARY = rb"(?:(?<![^?&;#\s])|%(?:25)*(?:3f|26|3b|23|20))"
_PARAMETER = re.compile(
    b"((?:%b|%b(?:%b))%b)[^&\\s]+"
    % (
        b"(?:%b)" % b"|".join(map(_encoded, SECRET_SUFFIXES)),
        _BOUNDARY,
        b"|".join(map(_encoded, SECRET_NAMES)),
        _encoded(b"="),
    ),
    re.IGNORECASE,
)
_ADMIN_PATH = re.compile(rb"(registration_tokens/)(?!new(?:[?/#]|\Z))[^/?#\s]+", re.IGNORECASE)


def redact(text: bytes) -> bytes:
    """`text` (a target, a URL, a whole request line) with the value of every secret replaced.

    A value ends at the next ``&`` or white space, so what hides behind ``;``, ``#`` or an encoded
    ``&`` goes with it.
    """
    if b"=" not in text and b"3d" not in text and b"3D" not in text:
        if b"registration_tokens" not in text:
            return text
    elif b"%" not in text:
        lowered = text.lower()
        if not any(hint in lowered for hint in _HINTS):
            return text
    text = _PARAMETER.sub(rb"\1" + REDACTED, text)
    return _ADMIN_PATH.sub(rb"\1" + REDACTED, text)
