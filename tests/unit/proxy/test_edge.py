"""Preflights and well-known documents are answered where their routes win, and nowhere else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from synproxy.config.model import Config
from synproxy.core.wheel import TimerWheel
from synproxy.proxy.answers import CORS, CORS_RENDEZVOUS
from synproxy.proxy.generation import CompiledRoute, Generation

MAIN: dict[str, Any] = {"name": "main", "location": "/", "pool": "main"}
DOCUMENTS = {
    "client": {
        "m.homeserver": {"base_url": "https://matrix.example.org"},
        "org.matrix.msc4143.rtc_foci": [{"type": "livekit", "count": 1, "on": True}],
    },
    "server": {"m.server": "matrix.example.org:443"},
    "support": {"contacts": [{"role": "m.role.admin", "matrix_id": "@ädmin:example.org"}]},
}


def decided(path: bytes, method: bytes, *routes: dict[str, Any], **config: Any) -> CompiledRoute:
    """The route of a request in a configuration with one server for everything else."""
    generation = Generation(
        Config.model_validate(
            {
                "listeners": ["8008"],
                "maps": {"connection_upgrade": {"source": "$http_upgrade"}},
                "pools": {"main": {"servers": ["unix:/run/main.sock"]}},
                "routes": [*routes, MAIN],
                **config,
            }
        ),
        TimerWheel(0.0),
    )
    route = generation.decide(path, method).route
    assert route is not None
    return route


@pytest.mark.parametrize("path", [f"/.well-known/matrix/{name}".encode() for name in DOCUMENTS])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_document_is_served_as_json(path: bytes, method: bytes) -> None:
    route = decided(path, method, well_known={**DOCUMENTS, "max_age": "90m"})
    name = path.rpartition(b"/")[2].decode()
    assert route.name == f"well_known.{name}"
    assert route.respond is not None
    assert route.respond.status == 200
    assert json.loads(route.respond.body) == DOCUMENTS[name]
    assert route.respond.fields == (
        CORS + b"Content-Type: application/json\r\nCache-Control: public, max-age=5400\r\n"
    )


@pytest.mark.parametrize(
    ("method", "status"),
    [(b"POST", 405), (b"PUT", 405), (b"DELETE", 405), (b"PATCH", 405), (b"OPTIONS", 204)],
)
@pytest.mark.parametrize("preflight", [False, True])
def test_a_document_can_only_be_read(method: bytes, status: int, preflight: bool) -> None:
    route = decided(
        b"/.well-known/matrix/client",
        method,
        well_known=DOCUMENTS,
        http={"cors_preflight": preflight},
    )
    assert route.respond is not None
    assert route.respond.status == status
    assert route.respond.fields.startswith(CORS)
    assert (b"Allow: GET, HEAD, OPTIONS\r\n" in route.respond.fields) == (status == 405)


@pytest.mark.parametrize("location", ["/.well-known/", "^~ /.well-known/matrix/", "~ client$"])
def test_a_document_goes_before_routes_that_only_cover_its_path(location: str) -> None:
    other = {"name": "other", "location": location, "pool": "main"}
    path = b"/.well-known/matrix/client"
    assert decided(path, b"GET", other, well_known=DOCUMENTS).name == "well_known.client"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"/.well-known/matrix/support", "main"),
        (b"/.well-known/matrix/client/", "main"),
        (b"/.well-known/matrix/Client", "main"),
        (b"/.well-known/matrix", "main"),
    ],
)
def test_only_configured_documents_are_served(path: bytes, name: str) -> None:
    documents = {"client": DOCUMENTS["client"]}
    assert decided(path, b"GET", well_known=documents).name == name


PREFLIGHT = {"http": {"cors_preflight": "on"}}


@pytest.mark.parametrize(
    ("path", "cors"),
    [
        (b"/_matrix/client/v3/sync", CORS),
        (b"/_matrix/media/v3/upload", CORS),
        (b"/_matrix/federation/v1/version", CORS),
        (b"/_synapse/client/pick_idp", CORS),
        (b"/_matrix/client/unstable/org.matrix.msc4108/rendezvous", CORS_RENDEZVOUS),
        (b"/_matrix/client/v1/org.matrix.msc4108/rendezvous", CORS_RENDEZVOUS),
        (b"/_synapse/client/rendezvous", CORS_RENDEZVOUS),
        (b"/_synapse/client/rendezvous/01HX9K", CORS_RENDEZVOUS),
        (b"/_matrix/client/unstable/io.element.msc4388/rendezvous", CORS),
    ],
)
def test_a_preflight_gets_synapses_fields(path: bytes, cors: bytes) -> None:
    route = decided(path, b"OPTIONS", **PREFLIGHT)
    assert route.name == "http.cors_preflight"
    assert route.respond is not None
    assert (route.respond.status, route.respond.fields, route.respond.body) == (204, cors, b"")


@pytest.mark.parametrize(
    ("path", "method"),
    [
        (b"/_matrix/client/v3/sync", b"GET"),
        (b"/_matrix/client/v3/sync", b"HEAD"),
        (b"/_matrixx", b"OPTIONS"),
        (b"/_synapse/admin/v1/users", b"OPTIONS"),
        (b"/_matrix/../_synapse/admin/v1/users", b"OPTIONS"),
        (b"/element/index.html", b"OPTIONS"),
        (b"/", b"OPTIONS"),
    ],
)
def test_everything_else_goes_on_as_before(path: bytes, method: bytes) -> None:
    assert decided(path, method, **PREFLIGHT).name == "main"


def test_without_the_switch_a_preflight_goes_to_synapse() -> None:
    assert decided(b"/_matrix/client/v3/sync", b"OPTIONS").name == "main"


@pytest.mark.parametrize(
    ("location", "methods", "wins"),
    [
        ("~ ^/_matrix/client/", [], False),
        ("= /_matrix/client/v3/login", [], False),
        ("^~ /_matrix/client/v3/", [], False),
        ("^~ /_matrix/client/v3/", ["POST"], False),
        ("/", ["GET", "POST", "OPTIONS"], False),
        ("/_matrix/client/v3/", ["OPTIONS"], True),
        ("~ /login$", ["GET", "OPTIONS"], True),
        ("= /_matrix/client/v3/login", ["POST", "OPTIONS"], True),
    ],
)
def test_a_closer_route_that_names_options_goes_before_the_preflight(
    location: str, methods: list[str], wins: bool
) -> None:
    mine = {"name": "mine", "location": location, "methods": methods, "pool": "main"}
    route = decided(b"/_matrix/client/v3/login", b"OPTIONS", mine, **PREFLIGHT)
    assert route.name == ("mine" if wins else "http.cors_preflight")
