"""The metrics as Prometheus reads them, held against documentation, rules and dashboard."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from synproxy.admin.exposition import families
from synproxy.admin.processes import process_families
from synproxy.admin.totals import Totals
from synproxy.observe.metrics import BOUNDS, SUM
from tests.unit.admin.test_page import FACTS, child

ROOT = Path(__file__).parents[3]
RULES = sorted((ROOT / "contrib/prometheus").glob("*.yaml"))
DASHBOARD = json.loads((ROOT / "contrib/grafana/synproxy.json").read_text())
DOCUMENT = (ROOT / "docs/metrics.md").read_text()
FROM_PROMETHEUS = {"up": {"job", "instance"}}
ITS_OWN = {"job", "instance", "le"}
"""Labels that every sample has once it is scraped, and the buckets'."""


def everything() -> dict[str, Any]:
    """A child that has seen all there is."""
    cell = [float(number) for number in range(SUM + 3)]
    server = ["sync", "unix:/run/a.sock"]
    seen = child(requests=3)
    seen["counts"] = {
        "accepted": [[[], 7]],
        "refusals": [[["400"], 1]],
        "ends": [[["sync", "client_gone"], 2]],
        "events": [
            [[event, "sync", "x"], 1]
            for event in ("connect", "retry", "fallback", "hold", "queue_full", "spill")
        ],
        "failures": [[[*server, "refused"], 2], [[*server, "closed"], 1]],
        "misroutes": [[["sync", "GET"], 1]],
        "reuses": [[server, 5]],
        "gc_collections": [[["0"], 9]],
        "gc_collected": [[["0"], 8]],
        "gc_uncollectable": [[["0"], 0]],
    }
    seen["cells"]["totals"].append([["sync", "sync", "", "POST", "502"], cell])
    seen["cells"]["late"] = [[[*server, "200"], cell]]
    seen["now"] |= {"idle": [[server, 2]], "held": [[["sync"], 1]], "queued": [[["sync"], 4]]}
    seen["counts"] |= {
        "turned_away": [[["connections_per_address"], 3], [["proxy_protocol"], 2]],
        "made_room": [[[], 7]],
    }
    seen["tls"] = [
        {
            "listener": "8448",
            "handshakes": 5,
            "resumed": 2,
            "handshake_failures": {"NO_SHARED_CIPHER": 1},
            "certificates": [{"certificate": "/a.pem", "names": ["a"], "not_after": 4e9}],
        }
    ]
    return seen


class Told(Collector):
    def collect(self) -> Iterator[Any]:
        totals = Totals()
        totals.update([everything()])
        yield from families(totals, FACTS)
        yield from process_families(os.getpid(), {"1": os.getpid(), "2": os.getpid()}, [])


def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(Told())
    return made


TEXT = generate_latest(registry()).decode()
FAMILIES: list[Metric] = list(text_string_to_metric_families(TEXT))
LABELS: dict[str, set[str]] = {}
for _family in FAMILIES:
    for _sample in _family.samples:
        LABELS.setdefault(_sample.name, set()).update(_sample.labels)


def value(name: str, /, **labels: str) -> float:
    return sum(
        sample.value
        for family in FAMILIES
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_it_is_openmetrics_too() -> None:
    text = generate_openmetrics(registry()).decode()  # type: ignore[no-untyped-call]
    parsed = parse_openmetrics(text)  # type: ignore[no-untyped-call]
    names = {family.name for family in parsed}
    assert "synproxy_http_requests" in names


def test_promtool_finds_nothing_to_object_to() -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=TEXT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_sums_are_what_was_counted() -> None:
    cell = sum(range(SUM))
    assert value("synproxy_http_requests_total", route="sync", code="502") == cell
    assert value("synproxy_http_requests_total", route="sync", code="200") == 3
    assert value("synproxy_http_request_duration_seconds_count", route="sync") == cell + 3
    assert value("synproxy_http_request_duration_seconds_bucket", le="+Inf") == cell + 3
    assert value("synproxy_upstream_requests_total", server="unix:/run/a.sock") == cell + 3
    assert value("synproxy_upstream_response_duration_seconds_count", upstream="sync") == cell + 3
    assert value("synproxy_upstream_connect_errors_total", reason="refused") == 2
    assert value("synproxy_upstream_errors_total") == 1
    assert value("synproxy_upstream_connection_reuses_total") == 5
    assert value("synproxy_upstream_connections", state="idle") == 2
    assert value("synproxy_connections_turned_away_total", reason="proxy_protocol") == 2
    assert value("synproxy_connections_closed_for_room_total") == 7
    assert value("synproxy_upstream_keys", server="unix:/run/a.sock") == 6
    assert value("synproxy_tls_handshakes_total", resumed="no") == 3
    assert value("synproxy_tls_certificate_not_after_timestamp_seconds", name="/a.pem") == 4e9
    assert value("synproxy_config_reloads_total", result="failed") == FACTS["failed_reloads"]
    assert value("python_gc_collections_total", generation="0") == 9
    assert value("python_gc_objects_collected_total", generation="0") == 8
    child = value("synproxy_child_cpu_seconds_total", child="1")
    assert 0 < 2 * child < value("process_cpu_seconds_total")
    assert value("process_open_fds") == 3 * value("synproxy_child_open_fds", child="2") > 0
    assert value("process_max_fds") > value("process_open_fds")
    assert BOUNDS[-1] == 60


def test_the_documentation_tells_all_labels() -> None:
    rows = re.findall(
        r"^\| `(synproxy_\w+)` \| ([a-z, ]*)\|",
        (ROOT / "docs/metrics.md").read_text(),
        re.MULTILINE,
    )
    documented = {name: set(filter(None, re.split(r"[, ]+", labels))) for name, labels in rows}
    told = {
        family.name + ("_total" if family.type == "counter" else ""): set().union(
            *(sample.labels.keys() for sample in family.samples)
        )
        - {"le"}
        for family in FAMILIES
        if family.name.startswith("synproxy")
    }
    assert told == documented


def expressions() -> Iterator[tuple[str, str]]:
    """Those of rules and dashboard, with where they stand."""
    for file in RULES:
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                yield rule.get("alert") or rule["record"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"][1:]:
        yield variable["name"], variable["definition"]


RECORDED = {
    rule["record"]
    for file in RULES
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
    if "record" in rule
}
WORD = re.compile(r"(?:synproxy|process)[a-z_0-9:]*|\bup\b")


@pytest.mark.parametrize(("place", "expression"), list(expressions()), ids=lambda text: text[:40])
def test_every_metric_that_is_asked_for_exists_with_its_labels(place: str, expression: str) -> None:
    bare = re.sub(r'"[^"]*"', '""', expression)
    names = [name for name in WORD.findall(bare) if name not in RECORDED]
    known = LABELS | FROM_PROMETHEUS
    assert set(names) <= known.keys(), place
    for name, selector in re.findall(r"([a-z_0-9:]+)\{([^}]*)\}", bare):
        wanted = set(re.findall(r"(\w+)\s*[=!]~?", selector))
        assert wanted <= known[name] | ITS_OWN, (place, name)
    if names:
        together = set().union(*(known[name] for name in names)) | ITS_OWN
        for grouped in re.findall(r"(?:by|on) \(([^)]*)\)", bare):
            assert set(re.split(r"[, ]+", grouped)) <= together, place


def test_promtool_takes_the_rules() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", "--lint-fatal", *map(str, RULES)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_do_not_overlap_and_have_numbers_of_their_own() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not taken & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
