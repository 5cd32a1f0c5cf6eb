"""``routes`` lists what is tried, in that order."""

from __future__ import annotations

import json

import pytest

from synproxy.cli.main import main


def test_routes_stand_by_precedence(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["routes", "-c", config]) == 0
    routes, pools, _ = capsys.readouterr().out.split("\n\n")
    header, *lines = routes.splitlines()
    assert header.split() == ["#", "ROUTE", "METHODS", "TO", "ALLOWLISTS", "LOCATION"]
    names = [line.split()[1] for line in lines]
    assert names == ["versions", "admin", "login", "sync", "media"]
    assert lines[1].split() == [
        "2", "admin", "any", "pool", "main", "private", "^~", "/_synapse/admin/",
    ]  # fmt: skip
    assert lines[0].split()[3:5] == ["answer", "404"]
    assert len({line.index("~ ^/_m") for line in lines[2:4]}) == 1
    assert "127.0.0.1:8080 weight=2" in pools
    assert "hash $mxid_localpart consistent" in pools
    assert "hash $remote_addr rendezvous" in pools


def test_routes_as_json_hold_the_same(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["routes", "-c", config, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [route["name"] for route in found["routes"]] == [
        "versions", "admin", "login", "sync", "media",
    ]  # fmt: skip
    assert found["routes"][3]["methods"] == ["GET"]
    assert found["routes"][0]["respond"]["status"] == 404
    assert found["pools"]["main"]["servers"][0]["weight"] == 2
