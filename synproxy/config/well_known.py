"""Checks the documents of ``well_known`` as the Matrix specification defines them.

Works on the tree as written, as ``references`` does. What clients cannot read, they take for a
broken homeserver: it must not get out. Keys that the specification does not know are let through,
for that is how proposals are tried (``org.matrix.msc4143.rtc_foci``).

Source: client-server API, "Well-known URIs", and server-server API, "Server discovery".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from synproxy.config.document import Document, Path
from synproxy.config.wording import did_you_mean, quoted, shown

PATHS = {
    "client": "/.well-known/matrix/client",
    "server": "/.well-known/matrix/server",
    "support": "/.well-known/matrix/support",
}

_PORT = re.compile(r"[0-9]{1,5}")
_HOST = re.compile(r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*")
_USER_ID = re.compile(r"@[^:\s]*:\S+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_NAMESPACED = re.compile(r"(?!m\.)[a-z][a-z0-9._-]*\.[a-z0-9._-]+")
_ROLE = re.compile(r"m\.role\.[a-z]+")


def check_well_known(document: Document, section: Mapping[str, object]) -> None:
    """Report every mistake in ``well_known``; values of a wrong type at the top are the model's."""
    checker = _Checker(document)
    for name, check in (
        ("client", checker.client),
        ("server", checker.server),
        ("support", checker.support),
    ):
        written = section.get(name)
        if isinstance(written, dict):
            check(("well_known", name), written)


class _Checker:
    def __init__(self, document: Document) -> None:
        self._document = document

    def client(self, path: Path, written: Mapping[str, object]) -> None:
        if "m.homeserver" not in written:
            self._document.at_key(path, '"m.homeserver" is missing in "client"')
            for name in written.keys() - {"m.identity_server"}:
                if hint := did_you_mean(name, ["m.homeserver"]):
                    self._document.at_key((*path, name), f"unknown key {quoted(name)}", hint)
        for name in ("m.homeserver", "m.identity_server"):
            if name not in written:
                continue
            value = written[name]
            if not isinstance(value, dict):
                wanted = f"{name}: expected a mapping with base_url"
                self._document.at_value((*path, name), f"{wanted}, got {shown(value)}")
            elif "base_url" not in value:
                self._document.at_key((*path, name), f'"base_url" is missing in {quoted(name)}')
            else:
                self._check_url((*path, name, "base_url"), value["base_url"])

    def server(self, path: Path, written: Mapping[str, object]) -> None:
        if "m.server" not in written:
            self._document.at_key(path, '"m.server" is missing in "server"')
            return
        place, value = (*path, "m.server"), written["m.server"]
        if not isinstance(value, str) or not is_server_name(value):
            wanted = "m.server: expected host:port such as matrix.example.org:443"
            hint = "without https:// and without a path" if "/" in str(value) else ""
            self._document.at_value(place, f"{wanted}, got {shown(value)}", hint)

    def support(self, path: Path, written: Mapping[str, object]) -> None:
        if not written.keys() & {"contacts", "support_page"}:
            self._document.at_key(path, '"support" needs "contacts" or "support_page"')
        if "support_page" in written:
            self._check_url((*path, "support_page"), written["support_page"])
        contacts = written.get("contacts", ())
        if not isinstance(contacts, list | tuple):
            wanted = "contacts: expected a list"
            self._document.at_value((*path, "contacts"), f"{wanted}, got {shown(contacts)}")
            return
        if "contacts" in written and not contacts and "support_page" not in written:
            self._document.at_value((*path, "contacts"), "contacts: at least one is needed")
        for index, contact in enumerate(contacts):
            place = (*path, "contacts", index)
            if isinstance(contact, dict):
                self._check_contact(place, contact)
            else:
                wanted = "contacts: expected a mapping"
                self._document.at_value(place, f"{wanted}, got {shown(contact)}")

    def _check_contact(self, path: Path, contact: Mapping[str, object]) -> None:
        if "role" not in contact:
            self._document.at_value(path, '"role" is missing in this contact')
        elif not _is_role(role := contact["role"]):
            wanted = "role: expected m.role.admin, m.role.security or a name of your own"
            hint = "names of your own start with a domain, as in org.example.role.abuse"
            self._document.at_value((*path, "role"), f"{wanted}, got {shown(role)}", hint)
        if not contact.keys() & {"email_address", "matrix_id"}:
            self._document.at_value(path, 'a contact needs "email_address" or "matrix_id"')
        for name, pattern, example in (
            ("email_address", _EMAIL, "admin@example.org"),
            ("matrix_id", _USER_ID, '"@admin:example.org"'),
        ):
            value = contact.get(name)
            if name in contact and not (isinstance(value, str) and pattern.fullmatch(value)):
                wanted = f"{name}: expected an address such as {example}"
                self._document.at_value((*path, name), f"{wanted}, got {shown(value)}")

    def _check_url(self, path: Path, value: object) -> None:
        if not isinstance(value, str) or not is_url(value):
            wanted = f"{path[-1]}: expected a URL such as https://matrix.example.org"
            hint = ""
            if isinstance(value, str) and "://" not in value and is_url(f"https://{value}"):
                hint = f"write https://{value}"
            self._document.at_value(path, f"{wanted}, got {shown(value)}", hint)


def is_url(text: str) -> bool:
    """Whether a client can use ``text`` as an address: http or https, a host, perhaps a path."""
    try:
        parts = urlsplit(text)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and named
        and parts.username is None
        and "#" not in text
        and "?" not in text
        and text.isascii()
        and text.isprintable()
        and " " not in text
    )


def is_server_name(text: str) -> bool:
    """The grammar of server names (appendices of the specification): a host, perhaps a port."""
    host, colon, port = text, "", ""
    if not text.endswith("]") and ":" in text:
        host, colon, port = text.rpartition(":")
    if colon and not (_PORT.fullmatch(port) and 0 < int(port) < 65536):
        return False
    if host.startswith("[") and host.endswith("]"):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            return False
        return True
    return _HOST.fullmatch(host) is not None


def _is_role(value: object) -> bool:
    return isinstance(value, str) and bool(_ROLE.fullmatch(value) or _NAMESPACED.fullmatch(value))
