"""Server blocks that do nothing but send clients to https, and answer http-01 challenges.

Mostly they stand beside the block that is imported, on port 80, in one of three spellings: a
``return`` in the block, one in ``location /``, or certbot's ``if ($host = name)``. Source:
https://nginx.org/en/docs/http/converting_rewrite_rules.html
"""

from __future__ import annotations

import re

from synproxy.nginx.report import Report
from synproxy.nginx.scope import Scope
from synproxy.nginx.tree import Directive

CHALLENGES = "/.well-known/acme-challenge"
_TO_HTTPS = re.compile(r"https://\$\{?(?:host|http_host|server_name)\}?\$\{?request_uri\}?")
_SURROUNDINGS = ("listen", "server_name", "access_log", "error_log", "root", "index", "charset")
_ANY_NAME = {"_", ""}


def redirects(http: Directive, server: Directive, report: Report) -> list[Directive]:
    """The blocks that send the clients of ``server`` to https; what is in them is claimed."""
    found = []
    for one in http.all("server"):
        if one is server or one.block is None or not _belongs(one, server):
            continue
        inside = _redirect(one)
        if inside:
            found.append(one)
            report.claim(one, *inside)
            for directive in inside:
                if _to_https(directive) and directive.args[0] != "308":
                    report.differs(
                        directive, "301, or 308 where the method has to stay (all but GET and HEAD)"
                    )
    return found


def challenges(scope: Scope) -> str | None:
    """The directory of a location for http-01 challenges, as ``acme_webroot`` means it."""
    if " ".join(scope.innermost.args).lstrip("=^~ ").rstrip("/") != CHALLENGES:
        return None
    alias = scope.own("alias")
    if alias is not None and len(alias.args) == 1:
        before, tail, after = alias.args[0].rpartition(CHALLENGES)
        return before if tail and after in ("", "/") and before.startswith("/") else None
    root = scope.last("root")
    if root is None or len(root.args) != 1 or not root.args[0].startswith("/"):
        return None
    return None if "$" in root.args[0] else root.args[0]


def _belongs(one: Directive, server: Directive) -> bool:
    """Whether it speaks plain HTTP, for names of that server block or for all."""
    if any("ssl" in listen.args for listen in one.all("listen")):
        return False
    names, served = _names(one), _names(server)
    return not names - _ANY_NAME or not served - _ANY_NAME or bool(names & served)


def _names(server: Directive) -> set[str]:
    return {name.lower() for one in server.all("server_name") for name in one.args}


def _redirect(server: Directive) -> list[Directive]:
    """All that is in such a block; nothing, if it does anything else."""
    inside: list[Directive] = []
    sends = False
    for one in server.block or ():
        inside.append(one)
        if one.name == "return" and (sends or one.args == ("404",) or _to_https(one)):
            sends = sends or _to_https(one)  # certbot's last line is "return 404"
        elif one.name == "if" and one.block and all(map(_to_https, one.block)):
            sends = True
            inside += one.block
        elif one.name == "location" and " ".join(one.args) == "/" and one.block:
            if not all(map(_to_https, one.block)):
                return []
            sends = True
            inside += one.block
        elif one.name == "location" and challenges(Scope((server, one))) is not None:
            inside += one.block or ()
        elif one.name not in _SURROUNDINGS:
            return []
    return inside if sends else []


def _to_https(one: Directive) -> bool:
    return (
        one.name == "return"
        and len(one.args) == 2
        and one.args[0] in ("301", "302", "303", "307", "308")
        and _TO_HTTPS.fullmatch(one.args[1]) is not None
    )
