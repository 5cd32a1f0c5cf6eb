"""What operators may change while it runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from synproxy.config.loader import loads
from synproxy.config.model import Maintenance
from synproxy.runtime.control import ControlError
from synproxy.runtime.interventions import Interventions, left_without, server_called

CONFIG = loads(
    """\
listeners: ["127.0.0.1:8008"]
pools:
  sync: {servers: ["unix:/run/inbound_sync1.sock", "unix:/run/inbound_sync2.sock"]}
  twins: {servers: ["unix:/a/x.sock", "unix:/b/x.sock", "127.0.0.1:8083"]}
  one: {servers: ["unix:/run/inbound_sync1.sock", {address: "unix:/c/y.sock", down: on}]}
""",
    "test",
)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("inbound_sync1", "unix:/run/inbound_sync1.sock"),
        ("unix:/b/x.sock", "unix:/b/x.sock"),
        ("127.0.0.1:8083", "127.0.0.1:8083"),
        ("gone", "unix:/old/gone.sock"),
    ],
)
def test_a_server_is_called_by_its_address_or_its_short_name(name: str, address: str) -> None:
    assert server_called(name, CONFIG, ("unix:/old/gone.sock",)) == address


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x", "x may be unix:/a/x.sock or unix:/b/x.sock"),
        ("inbound_sink1", 'did you mean "inbound_sync1"?'),
        ("", "there are inbound_sync1, inbound_sync2, x, 127.0.0.1:8083, y"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(name: str, words: str) -> None:
    with pytest.raises(ControlError, match=words.replace("?", r"\?")):
        server_called(name, CONFIG)


def test_they_are_the_same_after_a_journey_as_json() -> None:
    wanted = Interventions().with_drained("unix:/a").with_maintenance({"on": True, "error": "x"})
    assert Interventions.from_facts(json.loads(json.dumps(wanted.facts()))) == wanted
    assert Interventions.from_facts({}) == Interventions()


def test_a_server_is_drained_once_and_then_no_more() -> None:
    wanted = Interventions().with_drained("unix:/a").with_drained("unix:/a").with_drained("unix:/b")
    assert wanted.drained == ("unix:/a", "unix:/b")
    assert wanted.without_drained("unix:/a").drained == ("unix:/b",)


def test_clients_are_told_what_is_asked_for_and_otherwise_what_the_configuration_says() -> None:
    settings = Maintenance(retry_after=60.0, error="as configured")
    assert Interventions().answer(settings) is None
    assert Interventions().with_maintenance({"on": True}).answer(settings) == settings
    told = Interventions().with_maintenance({"on": True, "error": "soon", "retry_after": "10m"})
    assert told.answer(settings) == Maintenance(retry_after=600.0, error="soon")
    assert told.with_maintenance({"on": False}) == Interventions()


def test_maintenance_goes_on_since_it_began() -> None:
    begun = Interventions().with_maintenance({"on": True})
    assert begun.with_maintenance({"on": True, "error": "still"}).since == begun.since > 0


@pytest.mark.parametrize(
    "arguments", [{}, {"on": "yes"}, {"on": True, "error": 5}, {"on": True, "retry_after": "soon"}]
)
def test_nonsense_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ControlError):
        Interventions().with_maintenance(arguments)


def test_pools_that_are_left_without_a_server_are_named() -> None:
    assert left_without(CONFIG, ()) == []
    assert left_without(CONFIG, ("unix:/run/inbound_sync1.sock",)) == ["one"]
