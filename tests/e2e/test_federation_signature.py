"""A signed request passes Synapse's signature check: its target arrives byte for byte.

The signature covers the request-target (Matrix server-server API, "Request Authentication"), so a
proxy that merges slashes, decodes or re-encodes a byte, or drops an empty query breaks federation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.landing import AccessLog
from tests.e2e.peer import Peer
from tests.support.client import Answer, Client
from tests.support.lab import Lab
from tests.support.synproxy import Synproxy

V1 = "/_matrix/federation/v1"
CASES = {
    "plain": (f"PUT {V1}/send/plain", f"{V1}/send/plaim"),
    "%2F": (f"PUT {V1}/send/a%2Fb", f"{V1}/send/a%2fb"),
    "%21": (f"PUT {V1}/send/a%21b", f"{V1}/send/a!b"),
    "exclamation mark": (f"PUT {V1}/send/c!d", f"{V1}/send/c%21d"),
    "two slashes": (f"GET {V1}/state_ids//?event_id=%24e", f"{V1}/state_ids/?event_id=%24e"),
    "two slashes in the query": (f"PUT {V1}/send/e?a=//b", f"{V1}/send/e?a=/b"),
    "empty query": (f"PUT {V1}/send/f?", f"{V1}/send/f"),
    "all of them": (f"PUT {V1}/send/g%2F%21/?", f"{V1}/send/g%2F!/?"),
    "encoded dots": (f"PUT {V1}/send/%2e%2e", f"{V1}/send/%2E%2e"),
    "plus and semicolon": (f"PUT {V1}/send/i+j;k?l=+", f"{V1}/send/i+j;k?l=%20"),
}
"""What is signed and sent, and the same target as another program could rewrite it."""


@pytest.fixture(scope="module")
def peer(lab: Lab) -> Iterator[Peer]:
    with Peer(lab) as peer:
        yield peer


def ask(at: int | Path, peer: Peer, method: str, target: str, signed: str) -> Answer:
    """Sends a request for ``target`` with the signature of one for ``signed``."""
    content = peer.transaction() if method == "PUT" else None
    body = b"" if content is None else json.dumps(content).encode()
    head = (
        f"{method} {target} HTTP/1.1\r\n"
        "Host: lab.test\r\n"
        f"Authorization: {peer.authorization(method, signed, content)}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "X-Forwarded-For: 127.0.0.1\r\n"
        "X-Forwarded-Proto: https\r\n\r\n"
    )
    with Client(at, timeout=30) as client:
        client.send(head.encode() + body)
        answer = client.read_answer(method.encode())
    assert answer is not None
    return answer


@pytest.mark.parametrize("case", CASES)
def test_a_signed_request_is_accepted_and_one_with_a_changed_byte_is_not(
    lab: Lab, proxy: Synproxy, access_log: AccessLog, peer: Peer, case: str
) -> None:
    request, changed = CASES[case]
    method, target = request.split(" ")
    reader = lab.places.inbound("federation_reader1")
    direct = ask(reader, peer, method, target, signed=target)
    mark = access_log.mark()
    through = ask(proxy.port, peer, method, target, signed=target)
    assert (through.status, through.body) == (direct.status, direct.body)
    assert through.status == (200 if method == "PUT" else 403)

    refused = ask(proxy.port, peer, method, changed, signed=target)
    assert refused.status == 401
    assert b"Invalid signature" in refused.body

    landings = access_log.since(mark)
    assert [landing.target for landing in landings] == [target, changed]
    assert all(landing.processes == (landing.server,) for landing in landings)
