"""The status page over made-up overviews: escaped, accessible, and true without its script."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from synproxy.admin.explaining import Explainer
from synproxy.admin.history import INTERVAL, History, Sample
from synproxy.admin.overview import grouped, overview
from synproxy.admin.page import POLICY, page
from synproxy.admin.totals import Totals
from synproxy.config.loader import loads
from synproxy.config.model import Config
from synproxy.observe.metrics import SUM

CONFIG = loads(
    """\
listeners: ["127.0.0.1:8008"]
admin: 127.0.0.1:9109
pools:
  sync:
    balance: {hash: $remote_addr}
    servers: ["unix:/run/a.sock", "unix:/run/b.sock", {address: "unix:/run/c.sock", backup: on}]
  main: {servers: ["unix:/run/main.sock"]}
routes:
  - {name: sync, location: "~ ^/sync$", pool: sync}
  - {name: rest, location: /, pool: main}
""",
    "test",
)
FACTS: dict[str, Any] = {
    "pid": 1,
    "started": 0.0,
    "loaded": 0.0,
    "wanted": 2,
    "children": [2, 3],
    "numbers": [1, 2],
    "draining": [],
    "restarts": 0,
    "reloads": 0,
    "failed_reloads": 0,
    "failure": "",
    "interventions": {
        "drained": [],
        "maintenance": False,
        "error": "",
        "retry_after": 0.0,
        "since": 0.0,
    },
}
EVIL = "<script>alert('x')</script>\""


def child(pid: int = 2, requests: float = 0, down: str = "", detail: str = "") -> dict[str, Any]:
    cell = [0.0] * (SUM + 3)
    cell[3] = requests
    servers = [
        ("sync", "unix:/run/a.sock"),
        ("sync", "unix:/run/b.sock"),
        ("sync", "unix:/run/c.sock"),
        ("main", "unix:/run/main.sock"),
    ]
    return {
        "pid": pid,
        "tls": [],
        "counts": {"failures": []},
        "cells": {"totals": [[["sync", "sync", "unix:/run/a.sock", "GET", "200"], cell]]},
        "now": {
            "connections": [[["waiting"], 3]],
            "in_flight": [[["sync"], 2]],
            "busy": [[["sync", "unix:/run/a.sock"], 2]],
            "polls": [[["sync", "unix:/run/a.sock"], 1]],
            "keys": [[["sync", "unix:/run/a.sock"], 6], [["sync", "unix:/run/b.sock"], 2]],
        },
        "servers": [
            {
                "pool": pool,
                "server": server,
                "status": 2 if server == down else 0,
                "reason": "Connection refused" if server == down else "",
            }
            for pool, server in servers
        ],
        "errors": {
            "server": [
                {
                    "time": 1.0,
                    "status": 502,
                    "reason": "refused",
                    "detail": detail,
                    "method": "GET",
                    "path": EVIL,
                    "route": "sync",
                    "pool": "sync",
                    "server": "unix:/run/a.sock",
                }
            ]
            if detail
            else []
        },
    }


def shown(
    *children: dict[str, Any], facts: dict[str, Any] | None = None, config: Config = CONFIG
) -> dict[str, Any]:
    totals = Totals()
    history = History(Sample(0.0))
    totals.update(children)
    history.add(Sample.taken(INTERVAL, totals.counted()["cells"], {}))
    return overview(config, facts or FACTS, totals, history)


class Reader(HTMLParser):
    """Elements in order, with what is open around each, and all text."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(document)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.text += f" {data}"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.seen if name == tag]


def read(overview: dict[str, Any], url: str = "", answer: Any = "") -> Reader:
    return Reader(page(overview, {"method": "GET", "url": url}, answer))


def test_what_others_have_written_stays_text() -> None:
    failed = {**FACTS, "failure": EVIL}
    document = page(shown(child(detail=EVIL), facts=failed), {"method": EVIL, "url": EVIL}, EVIL)
    assert EVIL not in document
    assert "alert(&#x27;x&#x27;)" in document
    assert len(Reader(document).all("script")) == 1


def test_nothing_comes_from_elsewhere_and_no_style_or_script_is_in_an_attribute() -> None:
    reader = read(shown(child(requests=9, detail="x")))
    for tag, attributes in reader.seen:
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        assert not attributes.get("src")
        href = attributes.get("href") or ""
        assert re.match(r"#|/|data:,$|$", href), (tag, href)
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY


def test_tables_have_headers_with_a_scope_and_regions_have_names() -> None:
    reader = read(shown(child(requests=9, detail="x")))
    assert all(attributes.get("scope") for attributes in reader.all("th"))
    ids = {attributes.get("id") for _, attributes in reader.seen} - {None}
    for _, attributes in reader.seen:
        if attributes.get("aria-labelledby"):
            assert attributes["aria-labelledby"] in ids
        if attributes.get("role") == "region":
            assert attributes.get("aria-label") or attributes.get("aria-labelledby")
    labels = {attributes.get("for") for attributes in reader.all("label")}
    assert labels == {"method", "url", "from"}
    assert [tag for tag, _ in reader.seen if tag in ("header", "main", "footer", "nav")] == [
        *("header", "main", "footer", "nav"),
    ]


@pytest.mark.parametrize(
    ("children", "facts", "level", "words"),
    [
        ([child(2), child(3)], {}, "good", "Everything is up"),
        ([child(2, down="unix:/run/b.sock")], {}, "warning", "b of pool sync is down"),
        ([child(2, down="unix:/run/main.sock")], {}, "critical", "pool main has no server"),
        ([child(2)], {"children": [2]}, "warning", "1 of 2 child processes"),
        ([], {"children": []}, "critical", "no child process serves"),
        ([child(2)], {"failure": "x.yaml:3:1: oops"}, "warning", "x.yaml:3:1: oops"),
    ],
)
def test_the_first_line_tells_the_worst(
    children: list[dict[str, Any]], facts: dict[str, Any], level: str, words: str
) -> None:
    found = shown(*children, facts={**FACTS, **facts})
    assert found["level"] == level
    assert words in read(found).text


def test_a_pool_whose_requests_go_to_another_is_not_broken() -> None:
    pools = dict(CONFIG.pools)
    pools["main"] = pools["main"].model_copy(update={"fallback": "sync"})
    config = CONFIG.model_copy(update={"pools": pools})
    found = shown(child(2, down="unix:/run/main.sock"), child(3), config=config)
    text = "pool main has no server that is up: its requests go to sync"
    assert (found["level"], found["notes"][0]["text"]) == ("warning", text)


def test_one_child_that_sees_a_server_down_is_enough() -> None:
    found = shown(child(2), child(3, down="unix:/run/a.sock"))
    states = {server["name"]: server["state"] for server in found["pools"][0]["servers"]}
    assert states == {"a": "down", "b": "up", "c": "up"}


def test_shares_are_told_beside_fair_ones() -> None:
    pool = shown(child(2, requests=30), child(3, requests=10))["pools"][0]
    a, b, c = pool["servers"]
    assert (pool["rate"], a["rate"], a["share"], b["share"]) == (4, 4, 1, 0)
    assert (a["key_share"], b["key_share"]) == (0.75, 0.25)
    assert (a["fair"], b["fair"], c["fair"]) == (0.5, 0.5, 0)
    assert (a["busy"], a["polls"], pool["polls"]) == (4, 2, 2)


def test_bands_are_as_wide_as_traffic_and_routes_without_any_are_there() -> None:
    reader = read(shown(child(2, requests=30)))
    bands = [one for one in reader.all("path") if one.get("class") in ("flows", "idle")]
    widths = {one["class"]: float(one["stroke-width"] or 0) for one in bands}
    assert len([one for one in bands if one["class"] == "flows"]) == 2
    assert widths["flows"] > 50 > widths["idle"]


def test_errors_of_one_kind_are_one_line() -> None:
    error = {"time": 1.0, "reason": "refused", "detail": "x", "client": "192.0.2.1"}
    others = [{**error, "time": 2.0, "client": "192.0.2.2"}, {**error, "reason": "closed"}]
    assert [(each["reason"], each["times"]) for each in grouped([error, *others, error])] == [
        ("refused", 3),
        ("closed", 1),
    ]


@pytest.mark.parametrize(
    ("method", "url", "sender", "expected"),
    [
        ("GET", "/sync?x=1", "", "sync: location"),
        ("GET", "https://example.org/nothing", "192.0.2.1", "rest: location"),
        ("GET", "/%00", "", "400"),
        ("BREW", "/", "", "The method is one of"),
        ("GET", "/ä", "", "ASCII"),
        ("GET", "/", "nobody", "'nobody' is no IP address"),
        ("GET", "http://[", "", "This is no URL"),
    ],
)
def test_any_request_is_explained_or_what_is_wrong_with_it(
    method: str, url: str, sender: str, expected: str
) -> None:
    answer = Explainer().rows(CONFIG, method, url, sender)
    assert expected in read(shown(child()), url, answer).text


def test_a_token_in_a_question_is_not_repeated() -> None:
    answer = Explainer().rows(CONFIG, "GET", "/sync?access_token=syt_canary", "")
    assert "canary" not in str(answer)


def test_an_overview_is_not_changed_by_showing_it() -> None:
    found = shown(child(requests=3, detail="x"))
    before = copy.deepcopy(found)
    read(found)
    assert found == before
