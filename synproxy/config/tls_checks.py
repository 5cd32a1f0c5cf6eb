"""What a file says of TLS that makes no sense, and the files it names.

Part of ``references``: works on the tree as written, and leaves wrong types to the model. Files are
opened only where the process that serves will open them: by ``check``, ``run`` and a reload.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath

from pydantic import ValidationError

from synproxy.config.certificates import (
    CertificateError,
    admin_context,
    client_context,
    load_pair,
    read_pems,
    server_context,
)
from synproxy.config.document import Document, Path
from synproxy.config.model import AdminTls, Tls, UpstreamTls
from synproxy.config.wording import quoted


def check_tls(document: Document, *, files: bool) -> None:
    """Report every mistake of this kind; ``files``: also in the files that are named."""
    tree = document.value
    if not isinstance(tree, dict):
        return
    _check_admin(document, tree.get("admin"), files)
    listeners, pools = tree.get("listeners"), tree.get("pools")
    for index, listener in enumerate(listeners if isinstance(listeners, list) else ()):
        if isinstance(listener, dict):
            _check_listener(document, ("listeners", index), listener, files)
    for name, pool in (pools if isinstance(pools, dict) else {}).items():
        if isinstance(pool, dict) and pool.get("tls") not in (None, False, "off"):
            _check_pool(document, ("pools", name), pool, files)


def _check_admin(document: Document, admin: object, files: bool) -> None:
    if not isinstance(admin, dict) or admin.get("tls") is None:
        return
    listen = admin.get("listen")
    if isinstance(listen, str) and listen.startswith("unix:"):
        message = f"tls: {quoted(listen)} is on this machine"
        document.at_value(("admin", "tls"), message, "TLS is for an address and a port")
    try:
        tls = AdminTls.model_validate(admin["tls"])
    except ValidationError:
        return
    if files:
        try:
            admin_context(tls)
        except CertificateError as error:
            document.at_value(("admin", "tls", error.field), _told(error))


def _check_listener(
    document: Document, path: Path, listener: Mapping[str, object], files: bool
) -> None:
    if listener.get("tls") is not None and listener.get("redirect_https") in (True, "on", "yes"):
        message = "redirect_https: this listener speaks https already"
        document.at_value((*path, "redirect_https"), message, "it is for the plain one on port 80")
    webroot = listener.get("acme_webroot")
    absolute = isinstance(webroot, str) and webroot.startswith("/")
    if files and absolute and not FilePath(str(webroot)).is_dir():
        message = f"acme_webroot: expected a directory, got {quoted(str(webroot))}"
        document.at_value((*path, "acme_webroot"), message)
    try:
        tls = Tls.model_validate(listener.get("tls"))
    except ValidationError:
        return  # the model has said so
    try:
        server_context(tls)
    except CertificateError as error:
        document.at_value((*path, "tls", "ciphers"), _told(error))
        return
    for number, pair in enumerate(tls.certificates if files else ()):
        try:
            load_pair(server_context(tls), pair, read_pems([pair]))
        except CertificateError as error:
            place: Path = (*path, "tls", "certificates", number, error.field)
            document.at_value(place, _told(error))


def _check_pool(document: Document, path: Path, pool: Mapping[str, object], files: bool) -> None:
    servers = pool.get("servers")
    for index, server in enumerate(servers if isinstance(servers, list) else ()):
        address = server.get("address") if isinstance(server, dict) else server
        if isinstance(address, str) and address.startswith("unix:"):
            message = f"tls: the server {quoted(address)} is on this machine"
            document.at_value((*path, "servers", index), message, "TLS is for host:port")
    try:
        tls = UpstreamTls.model_validate({} if pool["tls"] in (True, "on") else pool["tls"])
    except ValidationError:
        return
    if files:
        try:
            client_context(tls)
        except CertificateError as error:
            document.at_value((*path, "tls", error.field), _told(error))


def _told(error: CertificateError) -> str:
    return f"{error.field}: {error.reason}, got {quoted(error.file)}"
