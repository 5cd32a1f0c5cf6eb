"""Routes that the configuration implies: CORS preflights and the ``.well-known`` documents.

They stand in the same table as the written ones, so nothing is asked of a request that goes
elsewhere, and the commands show them. Each has the name of the key it comes from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from synproxy.config.model import Respond, Route
from synproxy.config.well_known import PATHS
from synproxy.proxy.answers import (
    CORS,
    RENDEZVOUS_CREATE,
    RENDEZVOUS_SESSIONS,
    LocalAnswer,
    answer_for,
    cors_for,
)

if TYPE_CHECKING:
    from synproxy.config.model import Config

_BROWSER_PATHS: Final = (
    "/_matrix/",
    "/_synapse/client/",
    RENDEZVOUS_SESSIONS.decode(),
    *(f"= {path.decode()}" for path in RENDEZVOUS_CREATE),
)
"""Where Synapse expects browsers; its OPTIONS would be 204 everywhere, but what else is below
``/_synapse`` is no business of a web page."""


class EdgeRoute(NamedTuple):
    """A route with its answer. ``ahead``: see :class:`synproxy.core.routes.RouteTable`."""

    route: Route
    answer: LocalAnswer
    ahead: bool = False


def edge_routes(config: Config) -> Iterator[EdgeRoute]:
    """The implied routes, in the order in which the table needs them."""
    for name, path in PATHS.items():
        document = getattr(config.well_known, name)
        if document is not None:
            yield from _well_known(name, path, document, config.well_known.max_age)
    if config.http.cors_preflight:
        for location in _BROWSER_PATHS:
            cors = cors_for(location.rpartition(" ")[2].encode())
            yield EdgeRoute(
                _route("http.cors_preflight", location, 204, "OPTIONS"),
                answer_for(204, cors=cors),
                ahead=True,
            )


def _well_known(
    name: str, path: str, document: dict[str, Any], max_age: float
) -> Iterator[EdgeRoute]:
    """GET and HEAD get the document, OPTIONS its CORS fields, everything else 405."""
    route = f"well_known.{name}"
    fields = b"%bContent-Type: application/json\r\nCache-Control: public, max-age=%d\r\n" % (
        CORS,
        max_age,
    )
    body = json.dumps(document, ensure_ascii=False).encode()
    yield EdgeRoute(_route(route, f"= {path}", 200, "GET"), LocalAnswer(200, fields, body))
    yield EdgeRoute(_route(route, f"= {path}", 204, "OPTIONS"), answer_for(204))
    not_allowed = answer_for(405, allow=b"GET, HEAD, OPTIONS")
    yield EdgeRoute(_route(route, f"= {path}", 405), not_allowed)


def _route(name: str, location: str, status: int, *methods: str) -> Route:
    return Route(name=name, location=location, methods=methods, respond=Respond(status=status))
