"""What Synapse would be sent, and what strangers would reach."""

from __future__ import annotations

from typing import Any

import pytest

from synproxy.cli.doctor.forwarding import check_closed, check_headers
from synproxy.config.loader import load
from synproxy.explain.offline import Offline
from tests.support.paths import ROOT
from tests.unit.cli.doctor.compiled import ALL, offline

GOOD = {
    "Host": "$host",
    "X-Forwarded-For": "$remote_addr",
    "X-Forwarded-Proto": "$scheme",
}


def headers(changes: dict[str, str | None]) -> list[tuple[str, str, str]]:
    set_header = {name: text for name, text in (GOOD | changes).items() if text is not None}
    found = check_headers(offline(proxy={"set_header": set_header}))
    return [(each.status, each.reason, each.remedy) for each in found]


@pytest.mark.parametrize("scheme", ["$scheme", "https", "http"])
def test_the_fields_that_synapse_needs_are_set(scheme: str) -> None:
    ((status, reason, _),) = headers({"X-Forwarded-Proto": scheme})
    assert (status, reason) == ("ok", "sets X-Forwarded-For, X-Forwarded-Proto and Host")


@pytest.mark.parametrize(
    ("changes", "status", "reason", "remedy"),
    [
        ({"X-Forwarded-For": ""}, "fail", "X-Forwarded-For is removed", "$remote_addr"),
        ({"X-Forwarded-For": None}, "warn", "what the client claims", "$remote_addr"),
        ({"X-Forwarded-For": "$http_x_forwarded_for"}, "warn", "what the client claims", "$remote"),
        (
            {"X-Forwarded-For": "$proxy_add_x_forwarded_for"},
            "warn",
            "what the client claims",
            "$remote_addr",
        ),
        ({"X-Forwarded-For": "192.0.2.9"}, "warn", "is 192.0.2.9 instead of", "$remote_addr"),
        ({"X-Forwarded-Proto": ""}, "warn", "X-Forwarded-Proto is removed", "$scheme"),
        ({"X-Forwarded-Proto": None}, "warn", "is what the client claims", "$scheme"),
        ({"X-Forwarded-Proto": "ftp"}, "warn", "X-Forwarded-Proto is ftp", "$scheme"),
        ({"Host": ""}, "fail", "Host is removed", "Host: $host"),
    ],
)
def test_a_field_that_is_wrong_is_named_with_its_remedy(
    changes: dict[str, str | None], status: str, reason: str, remedy: str
) -> None:
    ((found_status, found_reason, found_remedy),) = headers(changes)
    assert found_status == status
    assert reason in found_reason
    assert found_remedy.startswith("in set_header of the proxy section: ")
    assert remedy in found_remedy


def test_only_the_routes_with_the_mistake_are_named() -> None:
    wrong = {"name": "a", "location": "/a", "pool": "main", "proxy": {"set_header": {"Host": "x"}}}
    found = list(check_headers(offline(routes=[wrong, ALL])))
    assert {each.subject for each in found} == {"route a"}
    assert len(found) == 2


def route(location: str, **settings: Any) -> dict[str, Any]:
    return {"name": location, "location": location, "pool": "main", **settings}


PRIVATE = {"private": [{"allow": "127.0.0.1"}, {"deny": "all"}]}


@pytest.mark.parametrize(
    ("routes", "status", "reason"),
    [
        ([route("/")], "fail", "/_synapse/replication/x"),
        ([route("/_matrix")], "ok", ""),
        ([route("~ ^/(_synapse|metrics)", allowlists=["private"]), route("/")], "ok", ""),
        ([route("/_synapse/admin"), route("/_matrix")], "warn", "/_synapse/admin/v1"),
        ([route("/_synapse"), route("/_synapse/admin", allowlists=["private"])], "fail", "mas"),
        ([route("/metrics")], "fail", "open to everybody: /metrics"),
        (
            [route("/metrics", pool=None, respond={"status": 403}), route("/_matrix")],
            "ok",
            "",
        ),
    ],
)
def test_strangers_reach_nothing_that_administers_synapse(
    routes: list[dict[str, Any]], status: str, reason: str
) -> None:
    found = check_closed(offline(routes=routes, allowlists=PRIVATE))
    assert (found.check, found.status) == ("closed", status)
    assert reason in found.reason
    assert bool(found.remedy) is (status != "ok")


def test_the_shipped_configuration_is_closed_and_sets_the_fields() -> None:
    shipped = Offline(load(ROOT / "config/synapse-workers.yaml"))
    assert check_closed(shipped).status == "ok"
    assert [each.status for each in check_headers(shipped)] == ["ok"]
