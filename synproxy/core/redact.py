"""Hide secrets in request-targets and referers before they are written anywhere.

Must not know log formats. Hiding too much is fine, too little is not: a name counts wherever it
stands, in any case, with any of its characters percent-encoded, once or more often.
"""

from __future__ import annotations

import re

REDACTED = "<redacted>"  # Synapse's own wording (synapse/http/__init__.py, redact_uri)

SECRET_SUFFIXES = ("token", "secret")
"""Parameters whose name ends so: access_token, loginToken, client_secret, refresh_token, and the
registration token's plain ``token``."""

SECRET_NAMES = ("code", "ticket", "password", "samlresponse")
"""Whole names: what OpenID Connect, CAS and SAML hand back to Synapse in a redirect."""


def _encoded(text: str) -> str:
    """A pattern for `text` where every character may be percent-encoded, also repeatedly."""

    def one(char: str) -> str:
        forms = sorted({char, char.upper()})
        hexes = "|".join(f"{ord(form):02x}" for form in forms)
        return f"(?:[{''.join(forms)}]|%(?:25)*(?:{hexes}))"

    return "".join(map(one, text))


_BOUNDARY = r"(?:(?<![^?&;#/ ])|%(?:25)*(?:3f|26|3b|23|2f|20))"
_PARAMETER = re.compile(
    f"((?:(?:{'|'.join(map(_encoded, SECRET_SUFFIXES))})"
    f"|{_BOUNDARY}(?:{'|'.join(map(_encoded, SECRET_NAMES))})){_encoded('=')})[^&]+",
    re.IGNORECASE | re.ASCII,
)
_ENCODED_NAME_BYTE = re.compile("%(?:25|3[dD]|4[1-9A-Fa-f]|5[0-9AaFf]|6[1-9A-Fa-f]|7[0-9Aa])")
"""Letters, ``_``, ``=`` and ``%``, which no client encodes without a wish to hide them."""

_ADMIN_PATH = re.compile(r"(registration_tokens/)(?!new(?:[?/#]|\Z))[^/?#]+")


def redact(text: str) -> str:
    """`text` (a target, a URL, a whole request line) with the value of every secret replaced.

    A value ends at the next ``&``, so what hides behind ``;``, ``#`` or an encoded ``&`` goes
    with it. `text` holds bytes decoded as Latin-1 or UTF-8, whichever its user writes.
    """
    if "=" not in text and "3d" not in text and "3D" not in text:
        if "registration_tokens" not in text:
            return text
    elif "%" not in text or _ENCODED_NAME_BYTE.search(text) is None:
        lowered = text.lower()
        if not (
            "token" in lowered
            or "secret" in lowered
            or "code" in lowered
            or "ticket" in lowered
            or "password" in lowered
            or "samlresponse" in lowered
        ):
            return text
    text = _PARAMETER.sub(rf"\1{REDACTED}", text)
    return _ADMIN_PATH.sub(rf"\1{REDACTED}", text)
