"""``ssl_*`` of a server block as the ``tls`` of its listeners.

Source: https://nginx.org/en/docs/http/ngx_http_ssl_module.html
"""

from __future__ import annotations

import re
from pathlib import Path

from synproxy.config.certificates import CertificateError, server_context
from synproxy.config.model import Certificate, Tls
from synproxy.nginx.draft import Said
from synproxy.nginx.report import Report
from synproxy.nginx.scope import Scope
from synproxy.nginx.tree import Directive

_SPOKEN = ("TLSv1.2", "TLSv1.3")
_HSTS = "strict-transport-security"
_OFF_IS_OURS = {
    "ssl_stapling": "no OCSP response is stapled: clients ask the authority, or do not",
    "ssl_stapling_verify": "no OCSP response is stapled: clients ask the authority, or do not",
    "ssl_prefer_server_ciphers": "the client's order of ciphers holds",
    "ssl_early_data": "no data is taken before the end of a handshake",
}
"""What else than ``off`` would mean."""
_NEEDLESS = (
    "ssl_session_cache",
    "ssl_session_timeout",
    "ssl_buffer_size",
    "ssl_session_ticket_key",
)
"""They save work to clients that come again, and change no answer."""


def tls_section(server: Scope, prefix: Path, report: Report) -> dict[str, object] | None:
    """The settings for listeners with ``ssl``; None, and the reason in the report, where there is
    no certificate. ``prefix``: what relative paths are relative to."""
    certificates = _certificates(server, prefix, report)
    if certificates is None:
        return None
    section: dict[str, object] = {"certificates": certificates}
    if (one := server.last("ssl_protocols")) is not None:
        _versions(one, section, report)
    if (one := server.last("ssl_ciphers")) is not None and one.args:
        _ciphers(one, section, report)
    if (one := server.last("ssl_session_tickets")) is not None:
        report.claim(one)
        if one.args == ("off",):
            section["session_tickets"] = Said(False, one.place)
    if (one := server.last("ssl_dhparam")) is not None:
        report.differs(one, "there is no finite-field Diffie-Hellman: elliptic curves are used")
    if (one := server.last("ssl_ecdh_curve")) is not None:
        if one.args == ("auto",):
            report.claim(one)
        else:
            report.differs(one, "OpenSSL's own list of curves holds")
    for name, meaning in _OFF_IS_OURS.items():
        if (one := server.last(name)) is not None and one.args != ("off",):
            report.differs(one, meaning)
        else:
            report.claim(one)
    for name in _NEEDLESS:
        if (one := server.last(name)) is not None:
            report.needless(one)
    if (hsts := _hsts(server, report)) is not None:
        section["hsts"] = hsts
    return section


def without_tls(server: Scope, report: Report) -> None:
    """Of a server block that speaks no TLS: what is there for others."""
    for block in server.blocks:
        for one in block.block or ():
            if one.name.startswith("ssl_"):
                report.needless(one)


def _certificates(server: Scope, prefix: Path, report: Report) -> list[object] | None:
    certificates, keys = (
        server.inherited("ssl_certificate"),
        server.inherited("ssl_certificate_key"),
    )
    if not certificates or len(certificates) != len(keys):
        for one in (*certificates, *keys):
            report.lost(one, "a certificate and its key are needed")
        return None
    found: list[object] = []
    for pair in zip(certificates, keys, strict=True):
        paths = []
        for one in pair:
            written = one.args[0] if len(one.args) == 1 else ""
            if not written or "$" in written or written.startswith(("data:", "engine:", "store:")):
                report.lost(one, "expected the path of one file")
                return None
            paths.append(Said(str(prefix / written), one.place))
        report.claim(*pair)
        found.append({"certificate": paths[0], "key": paths[1]})
    return found


def _versions(one: Directive, section: dict[str, object], report: Report) -> None:
    spoken = [version for version in _SPOKEN if version in one.args]
    if not spoken:
        report.lost(one, "TLS before 1.2 is not spoken: TLS 1.2 and 1.3 are")
        return
    report.claim(one)
    section["min_version"] = Said(spoken[0], one.place)
    if set(one.args) - set(_SPOKEN):
        report.differs(one, "TLS before 1.2 is not spoken")
    elif spoken == ["TLSv1.2"]:
        report.differs(one, "TLS 1.3 is spoken, too")


def _ciphers(one: Directive, section: dict[str, object], report: Report) -> None:
    none = Certificate(certificate="/certificate", key="/key")
    try:
        server_context(Tls(certificates=(none,), ciphers=one.args[0]))
    except CertificateError:
        report.lost(one, "OpenSSL here does not know them: Mozilla's intermediate list holds")
        return
    report.claim(one)
    section["ciphers"] = Said(one.args[0], one.place)


def _hsts(server: Scope, report: Report) -> object | None:
    """``add_header Strict-Transport-Security``: where it stands first, and its repetitions in
    locations, which would go without it otherwise."""
    found = [
        one
        for block in (*reversed(server.blocks), *_locations(server.innermost))
        for one in block.all("add_header")
        if len(one.args) >= 2 and one.args[0].lower() == _HSTS
    ]
    if not found:
        return None
    first = found[0]
    section = _policy(first.args[1])
    if section is None:
        report.lost(first, "its value is not understood: it is not sent")
        return None
    report.claim(first)
    if "always" not in first.args[2:]:
        report.differs(first, "it is sent with every answer, as with always")
    for one in found[1:]:
        if _policy(one.args[1]) == section:
            report.claim(one)
        else:
            report.lost(one, f"the one of {first.place} holds everywhere")
    return Said(section, first.place)


def _policy(value: str) -> dict[str, object] | None:
    """RFC 6797 section 6.1."""
    section: dict[str, object] = {}
    for word in value.lower().split(";"):
        if age := re.fullmatch(r'\s*max-age\s*=\s*"?([0-9]{1,10})"?\s*', word):
            section = {"max_age": f"{age[1]}s", **section}
        elif word.strip() == "includesubdomains":
            section["include_subdomains"] = True
        elif word.strip() == "preload":
            section["preload"] = True
        elif word.strip():
            return None
    return section if "max_age" in section else None


def _locations(block: Directive) -> list[Directive]:
    found = []
    for one in block.all("location"):
        found += [one, *_locations(one)]
    return found
