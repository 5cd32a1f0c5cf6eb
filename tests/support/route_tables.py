"""Realistic route tables and paths for tests, and nginx's choice of a location spelt out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from urllib.parse import quote

import yaml

from synproxy.config.loader import load
from synproxy.config.model import Respond, Route
from synproxy.config.pcre import translate
from tests.support.paths import ROOT, SHARED

SEED_LOCATIONS = (
    "~ ^(/_matrix/client/(api/v1|r0|v3|unstable)/login|/_matrix/client/(r0|v3|unstable)/register"
    "|/_matrix/client/(r0|v3|unstable)/register/available"
    "|/_matrix/client/v1/register/m.login.registration_token/validity"
    "|/_matrix/client/(r0|v3|unstable)/password_policy)$",
    "~ ^/_matrix/client/(r0|v3)/sync$",
    "~ ^/_matrix/client/(api/v1|r0|v3)/events$",
    "~ ^(/_matrix/client/(api/v1|r0|v3)/initialSync"
    "|/_matrix/client/(api/v1|r0|v3)/rooms/[^/]+/initialSync)$",
    "~* ^(/_matrix/((client|federation)/[^/]+/)media/|/_matrix/media/v3/upload/)",
    r"~ ^/_synapse/admin/v1/(purge_)?(media(_cache)?|room|user|quarantine_media|users)/[\s\S]+"
    "|media$",
    "~ ^(/_matrix/federation/v1/event/|/_matrix/federation/v1/state/"
    "|/_matrix/federation/v1/state_ids/|/_matrix/federation/v1/backfill/"
    "|/_matrix/federation/v1/get_missing_events/|/_matrix/federation/v1/publicRooms"
    "|/_matrix/federation/v1/query/|/_matrix/federation/v1/make_join/"
    "|/_matrix/federation/v1/make_leave/|/_matrix/federation/(v1|v2)/send_join/"
    "|/_matrix/federation/(v1|v2)/send_leave/|/_matrix/federation/v1/make_knock/"
    "|/_matrix/federation/v1/send_knock/|/_matrix/federation/(v1|v2)/invite/"
    "|/_matrix/federation/v1/event_auth/|/_matrix/federation/v1/timestamp_to_event/"
    "|/_matrix/federation/v1/exchange_third_party_invite/"
    "|/_matrix/federation/v1/user/devices/|/_matrix/key/v2/query"
    "|/_matrix/federation/v1/hierarchy/)",
    "~ ^/_matrix/federation/v1/send/",
)
SEED_MEDIA_ADMIN = 5


def route(location: str, *methods: str, name: str = "") -> Route:
    return Route(
        name=name or location, location=location, methods=methods, respond=Respond(status=200)
    )


def seed_routes() -> list[Route]:
    return [route(location) for location in SEED_LOCATIONS]


@cache
def synapse_routes() -> tuple[Route, ...]:
    """The endpoint table of the shared data: 150 regexes with methods."""
    table = yaml.safe_load((SHARED / "data/synapse-endpoints.yaml").read_text())
    return tuple(
        route(
            f"~ {entry['regex']}",
            *(() if entry["methods"] == "*" else entry["methods"]),
            name=entry["id"],
        )
        for entry in table["routes"]
    )


def shipped_routes() -> dict[str, list[Route]]:
    """The routes of the configuration files that come with synproxy, by file name."""
    return {path.name: list(load(path).routes) for path in sorted((ROOT / "config").glob("*.yaml"))}


@cache
def matrix_paths() -> tuple[tuple[bytes, bytes, bytes], ...]:
    """(method, decoded path, path as a client would encode it) over the Matrix specification."""
    found = []
    for entry in json.loads((SHARED / "data/matrix-spec-corpus.json").read_text()):
        examples = entry["path_examples"]
        template = entry["path"].strip()  # one of two equal paths is told apart by a space
        values = {name: str(examples.get(name) or "x") for name in _names(template)}
        plain = template.format_map(values)
        coded = template.format_map({name: quote(v, safe="") for name, v in values.items()})
        found.append((entry["method"].encode(), plain.encode(), coded.encode()))
    return tuple(found)


def _names(template: str) -> list[str]:
    return re.findall(r"{([^}]*)}", template)


def nginx_choice(routes: Sequence[Route], path: bytes, method: bytes) -> int | None:
    """nginx's choice, route by route, without anything clever."""
    chosen, longest, final = None, -1, False
    regexes = []
    for index, entry in enumerate(routes):
        methods = {m.encode() for m in entry.methods}
        if methods and method not in methods and not (method == b"HEAD" and b"GET" in methods):
            continue
        modifier, _, rest = (
            entry.location.rpartition(" ")
            if entry.location[0] != "~"
            else entry.location.partition(" ")
        )
        if modifier in ("~", "~*"):
            regexes.append((index, _compiled(rest, modifier == "~*")))
        elif modifier == "=":
            if path == rest.encode():
                return index
        elif path.startswith(rest.encode()) and len(rest.encode()) > longest:
            chosen, longest, final = index, len(rest.encode()), modifier == "^~"
    if not final:
        for index, regex in regexes:
            if regex.search(path):
                return index
    return chosen


@cache
def _compiled(regex: str, ignore_case: bool) -> re.Pattern[bytes]:
    return re.compile(translate(regex).encode(), re.IGNORECASE if ignore_case else 0)
