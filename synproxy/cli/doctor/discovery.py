"""``.well-known/matrix``: what clients and other servers are told, and does Synapse agree?

Sources: the Matrix specification, client-server "Well-known URI" and server-server "Resolving
server names".
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from synproxy.cli.doctor.asking import NoReplyError, Reply, ask
from synproxy.cli.doctor.finding import Finding, fail, ok, skip, warn

CLIENT = "/.well-known/matrix/client"
SERVER = "/.well-known/matrix/server"

_SERVER_NAME = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.\-]+)(?::([0-9]{1,5}))?")


async def check_client(url: str | None, synapse: str | None, patience: float) -> Finding:
    """``url``: through the proxy; ``synapse``: a server that may serve it too. None: nobody."""
    if url is None:
        return skip("well-known", CLIENT, "nobody answers")
    served = await _get(url, CLIENT, patience)
    if isinstance(served, Finding):
        return served
    base = _base_url(served.json())
    if base is None:
        return fail(
            "well-known",
            CLIENT,
            "no JSON object with m.homeserver.base_url: clients stop at it (FAIL_PROMPT)",
            'serve {"m.homeserver": {"base_url": "https://..."}}',
        )
    if urlsplit(base).scheme not in ("http", "https") or not urlsplit(base).hostname:
        return fail("well-known", CLIENT, f"base_url {base!r} is no URL", "write https://HOST")
    if served.headers.get("Access-Control-Allow-Origin") != "*":
        return fail(
            "well-known",
            CLIENT,
            "without Access-Control-Allow-Origin: * no browser may read it",
            "send that field with it",
        )
    own = await _own(synapse, CLIENT, patience)
    theirs = _base_url(own)
    if theirs is not None and theirs.rstrip("/") != base.rstrip("/"):
        return warn(
            "well-known",
            CLIENT,
            f"base_url is {base}, Synapse's public_baseurl {theirs}",
            "make them the same: links that Synapse writes lead to its own",
        )
    agreed = ", as Synapse says" if theirs is not None else ""
    return ok("well-known", CLIENT, f"base_url {base}{agreed}")


async def check_server(url: str | None, synapse: str | None, patience: float) -> Finding:
    """The same for ``m.server``, which other homeservers ask for."""
    if url is None:
        return skip("well-known", SERVER, "nobody answers")
    served = await _get(url, SERVER, patience)
    if isinstance(served, Finding):
        return served
    name = served.json().get("m.server")
    found = _SERVER_NAME.fullmatch(name) if isinstance(name, str) else None
    if found is None:
        return fail(
            "well-known",
            SERVER,
            "no JSON object with m.server as HOST or HOST:PORT: other servers ignore it",
            'serve {"m.server": "HOST:443"}',
        )
    theirs = (await _own(synapse, SERVER, patience)).get("m.server")
    if theirs is not None and theirs != name:
        return warn(
            "well-known",
            SERVER,
            f"m.server is {name}, Synapse says {theirs}",
            "serve one of the two; both must lead to this homeserver",
        )
    if found[1] is None:
        return warn(
            "well-known",
            SERVER,
            f"m.server is {name}: without a port other servers come to 8448",
            f"{name}:443, unless 8448 is open and leads here",
        )
    return ok("well-known", SERVER, f"m.server {name}{', as Synapse says' if theirs else ''}")


async def _get(url: str, target: str, patience: float) -> Reply | Finding:
    """The answer, or the finding if there is none to judge."""
    try:
        reply = await ask(url, target, patience)
    except NoReplyError as error:
        return skip("well-known", target, str(error))
    if reply.status == 200:
        return reply
    if reply.status == 404:
        return warn(
            "well-known",
            target,
            "404: not served here",
            "nothing, if the web server of the server name serves it, or other names lead here",
        )
    return fail("well-known", target, f"status {reply.status}", "200 or 404 is expected")


async def _own(synapse: str | None, target: str, patience: float) -> dict[str, Any]:
    """What Synapse itself serves (``serve_server_wellknown``, ``public_baseurl``), if anything."""
    if synapse is None:
        return {}
    try:
        reply = await ask(synapse, target, patience)
    except NoReplyError:
        return {}
    return reply.json() if reply.status == 200 else {}


def _base_url(content: dict[str, Any]) -> str | None:
    homeserver = content.get("m.homeserver")
    base = homeserver.get("base_url") if isinstance(homeserver, dict) else None
    return base if isinstance(base, str) else None
