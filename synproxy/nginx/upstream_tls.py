"""``proxy_ssl_*``: TLS to the servers of a pool.

Source: https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_ssl_verify
"""

from __future__ import annotations

from synproxy.nginx.draft import Said
from synproxy.nginx.report import Report
from synproxy.nginx.scope import Scope

_DIFFERS = {
    "proxy_ssl_certificate": "servers are shown no certificate",
    "proxy_ssl_certificate_key": "servers are shown no certificate",
    "proxy_ssl_crl": "revoked certificates are not known",
    "proxy_ssl_protocols": "OpenSSL's own versions are spoken",
    "proxy_ssl_ciphers": "OpenSSL's own ciphers are spoken",
    "proxy_ssl_conf_command": "OpenSSL's own setting holds",
    "proxy_ssl_verify_depth": "OpenSSL's own depth holds",
}


def upstream_tls(scope: Scope, host: str, group: bool, report: Report) -> dict[str, object]:
    """The ``tls`` of the pool for ``https://host``; ``group``: that is the name of an upstream,
    which nginx takes for the name of each of its servers."""
    section: dict[str, object] = {}
    verify = scope.last("proxy_ssl_verify")
    report.claim(verify)
    verified = verify is not None and verify.args == ("on",)
    if verify is None or not verified:
        section["verify"] = Said(False, verify.place if verify else "nginx's default")
    trusted = scope.last("proxy_ssl_trusted_certificate")
    if trusted is not None and trusted.args:
        report.claim(trusted)
        if verified and trusted.args[0].startswith("/"):
            section["ca"] = Said(trusted.args[0], trusted.place)
        elif verified:
            report.lost(trusted, "the path must be absolute: the system's authorities are trusted")
    name = scope.last("proxy_ssl_name")
    if name is not None and name.args and "$" not in name.args[0]:
        report.claim(name)
        section["server_name"] = Said(name.args[0], name.place)
    else:
        if name is not None:
            report.lost(name, "it is not known before a request: the name in proxy_pass is taken")
        if group:
            section["server_name"] = Said(host, "as nginx, the name of the upstream")
    report.claim(scope.last("proxy_ssl_server_name"))
    one = scope.last("proxy_ssl_session_reuse")
    if one is not None:
        report.needless(one)
    for directive, meaning in _DIFFERS.items():
        if (one := scope.last(directive)) is not None:
            report.differs(one, meaning)
    return section
