"""What synproxy answers itself, a real Synapse would have answered in the same way."""

from __future__ import annotations

import json

import pytest

from synproxy.proxy.answers import answer_for
from tests.e2e.landing import AccessLog
from tests.support.client import Answer, Client
from tests.support.lab import Lab
from tests.support.synproxy import Synproxy

CORS = (
    b"access-control-allow-origin",
    b"access-control-allow-methods",
    b"access-control-allow-headers",
    b"access-control-expose-headers",
    b"access-control-max-age",
    b"access-control-allow-credentials",
    b"cache-control",
    b"content-type",
)


def ask(at: Client, method: str, target: str) -> Answer:
    head = f"{method} {target} HTTP/1.1\r\nHost: lab.test\r\nX-Forwarded-Proto: https\r\n\r\n"
    with at as client:
        client.send(head.encode())
        answer = client.read_answer(method.encode())
    assert answer is not None
    return answer


def shown(answer: Answer) -> tuple[int, dict[bytes, bytes], bytes]:
    return answer.status, {name: answer.field(name) for name in CORS}, answer.body


@pytest.mark.parametrize(
    "target",
    [
        "/_matrix/client/v3/sync?since=s1",
        "/_matrix/client/v3/login",
        "/_matrix/client/versions",
        "/_matrix/client/unstable/org.matrix.msc4108/rendezvous",
        "/_matrix/client/unstable/org.matrix.msc4108/rendezvous/x",
        "/_matrix/client/unstable/io.element.msc4388/rendezvous",
        "/_matrix/federation/v1/version",
        "/_matrix/nothing",
        "/_synapse/client/pick_idp",
        "/_synapse/client/rendezvous",
        "/_synapse/client/rendezvous/01HX9K00000000000000000000",
    ],
)
def test_a_preflight_is_answered_as_synapse_answers_it(
    lab: Lab, shipped_proxy: tuple[Synproxy, AccessLog], target: str
) -> None:
    proxy, log = shipped_proxy
    mark = log.mark()
    own = ask(Client(proxy.port), "OPTIONS", target)
    assert shown(own) == shown(ask(Client(lab.places.inbound("main")), "OPTIONS", target))
    (landing,) = log.since(mark)
    assert landing.route == "http.cors_preflight"
    assert landing.processes == ()


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [("GET", "/_matrix/client/v3/nothing", 404), ("DELETE", "/_matrix/client/versions", 405)],
)
def test_an_error_of_ours_reads_like_one_of_synapses(
    lab: Lab, method: str, target: str, status: int
) -> None:
    synapse = ask(Client(lab.places.inbound("main")), method, target)
    assert synapse.status == status
    own = answer_for(status)
    assert json.loads(own.body) == json.loads(synapse.body)
    fields = dict(line.lower().split(b": ", 1) for line in own.fields.split(b"\r\n") if line)
    for name in CORS:
        assert fields.get(name, b"") == synapse.field(name).lower()
