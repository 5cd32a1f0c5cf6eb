"""The admin listener of a running synproxy, read as Prometheus reads it."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.harness import Peer, becomes_true
from tests.support.synproxy import Synproxy

CONFIG = """\
listeners: ["127.0.0.1:@PORT@"]
access_log: "off"
children: 2
admin: unix:@RUN@/admin.sock
pools:
  sync: {servers: ["unix:@RUN@/sync.sock"]}
routes:
  - {name: sync, location: /sync, pool: sync}
  - {name: version, location: /version, respond: {status: 404}}
"""
CANARY = "syt_Y2FuYXJ5_canary"
DOCUMENT = Path(__file__).parents[2] / "docs/metrics.md"


async def ask(directory: Path, path: str) -> tuple[int, str]:
    await becomes_true((directory / "admin.sock").exists, within=110)
    peer = Peer(*await asyncio.open_unix_connection(str(directory / "admin.sock")))
    await peer.send(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    head, _, body = (await peer.to_end()).partition(b"\r\n\r\n")
    peer.close()
    return int(head[9:12]), body.decode()


async def request(proxy: Synproxy, path: str) -> int:
    peer = Peer(*await asyncio.open_connection("127.0.0.1", proxy.port))
    await peer.send(
        f"GET {path} HTTP/1.1\r\nHost: example.org\r\n"
        f"Authorization: Bearer {CANARY}\r\nConnection: close\r\n\r\n".encode()
    )
    answer = await peer.to_end()
    peer.close()
    return int(answer[9:12])


def value(text: str, sample: str, **labels: str) -> float:
    """The sum over all samples of that name and these labels."""
    return sum(
        found.value
        for family in text_string_to_metric_families(text)
        for found in family.samples
        if found.name == sample and labels.items() <= found.labels.items()
    )


async def test_metrics_and_status_sum_over_children_and_name_no_token(sockets: Path) -> None:
    with Synproxy(sockets, CONFIG) as proxy:
        for _ in range(8):
            assert await request(proxy, "/version") == 404
        assert await request(proxy, f"/sync?access_token={CANARY}") == 502
        status, metrics = await ask(sockets, "/metrics")
        assert status == 200
        assert value(metrics, "synproxy_children") == 2
        assert value(metrics, "synproxy_http_requests_total", route="version", code="404") == 8
        assert value(metrics, "synproxy_http_requests_total", route="sync", code="502") == 1
        assert (
            value(
                metrics, "synproxy_http_request_duration_seconds_bucket", route="version", le="60.0"
            )
            == 8
        )
        assert (
            value(
                metrics, "synproxy_upstream_connect_errors_total", upstream="sync", reason="refused"
            )
            == 1
        )
        assert value(metrics, "synproxy_connections_accepted_total") >= 9
        assert value(metrics, "synproxy_connections_closed_for_room_total") == 0
        status, text = await ask(sockets, "/status")
        assert status == 200
        about = json.loads(text)
        assert len(about["children"]) == 2
        assert about["errors"]["server"][-1]["path"] == "/sync"
        assert CANARY not in metrics + text


async def test_every_metric_is_documented_and_every_documented_metric_is_there(
    sockets: Path,
) -> None:
    with Synproxy(sockets, CONFIG):
        _, metrics = await ask(sockets, "/metrics")
    told = set(re.findall(r"^# TYPE (synproxy_\w+)", metrics, re.MULTILINE))
    documented = set(re.findall(r"^\| `(synproxy_\w+)`", DOCUMENT.read_text(), re.MULTILINE))
    assert told == documented
