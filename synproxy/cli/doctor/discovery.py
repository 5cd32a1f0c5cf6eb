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


Document = dict[str, Any]


async def check_client(
    url: str | None,
    synapse: str | None,
    configured: Document | None,
    stated: str,
    patience: float,
) -> Finding:
    """``url``: through the proxy; ``synapse``: a server that may serve it too; None: nobody
    answers. ``configured``: ``well_known.client`` of the configuration. ``stated``:
    ``public_baseurl`` in Synapse's files, or empty."""
    served = await _served(url, CLIENT, configured, patience)
    if isinstance(served, Finding):
        return served
    base = _base_url(served)
    if base is None:
        return fail(
            "well-known",
            CLIENT,
            "no JSON object with m.homeserver.base_url: clients stop at it (FAIL_PROMPT)",
            'serve {"m.homeserver": {"base_url": "https://..."}}',
        )
    if urlsplit(base).scheme not in ("http", "https") or not urlsplit(base).hostname:
        return fail("well-known", CLIENT, f"base_url {base!r} is no URL", "write https://HOST")
    own = _base_url(await _own(synapse, CLIENT, patience)) or stated or None
    if own is not None and own.rstrip("/") != base.rstrip("/"):
        return warn(
            "well-known",
            CLIENT,
            f"base_url is {base}, Synapse's public_baseurl {own}",
            "make them the same: links that Synapse writes lead to its own",
        )
    return ok("well-known", CLIENT, f"base_url {base}{_agreed(own)}")


async def check_server(
    url: str | None, synapse: str | None, configured: Document | None, patience: float
) -> Finding:
    """The same for ``m.server``, which other homeservers ask for."""
    served = await _served(url, SERVER, configured, patience)
    if isinstance(served, Finding):
        return served
    name = served.get("m.server")
    found = _SERVER_NAME.fullmatch(name) if isinstance(name, str) else None
    if found is None:
        return fail(
            "well-known",
            SERVER,
            "no JSON object with m.server as HOST or HOST:PORT: other servers ignore it",
            'serve {"m.server": "HOST:443"}',
        )
    own = (await _own(synapse, SERVER, patience)).get("m.server")
    if own is not None and own != name:
        return warn(
            "well-known",
            SERVER,
            f"m.server is {name}, Synapse says {own}",
            "serve one of the two; both must lead to this homeserver",
        )
    if found[1] is None:
        return warn(
            "well-known",
            SERVER,
            f"m.server is {name}: without a port other servers come to 8448",
            f"{name}:443, unless 8448 is open and leads here",
        )
    return ok("well-known", SERVER, f"m.server {name}{_agreed(own)}")


def _agreed(own: object) -> str:
    return "" if own is None else ", as Synapse says"


async def _served(
    url: str | None, target: str, configured: Document | None, patience: float
) -> Document | Finding:
    """The document to judge: as it is served, or as it will be; or why there is none."""
    if url is None:
        if configured is None:
            return skip("well-known", target, "nobody answers")
        return configured
    reply = await _get(url, target, patience)
    if isinstance(reply, Finding):
        return reply
    if configured is not None and reply.json() != configured:
        return warn(
            "well-known",
            target,
            "what is served is not what the configuration says",
            "systemctl reload synproxy, or look at what answers in front of it",
        )
    if target == CLIENT and reply.headers.get("Access-Control-Allow-Origin") != "*":
        return fail(
            "well-known",
            target,
            "without Access-Control-Allow-Origin: * no browser may read it",
            "send that field with it",
        )
    return reply.json()


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


async def _own(synapse: str | None, target: str, patience: float) -> Document:
    """What Synapse itself serves (``serve_server_wellknown``, ``public_baseurl``), if anything."""
    if synapse is None:
        return {}
    try:
        reply = await ask(synapse, target, patience)
    except NoReplyError:
        return {}
    return reply.json() if reply.status == 200 else {}


def _base_url(content: Document) -> str | None:
    homeserver = content.get("m.homeserver")
    base = homeserver.get("base_url") if isinstance(homeserver, dict) else None
    return base if isinstance(base, str) else None
