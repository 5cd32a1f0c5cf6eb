"""A user stays with one sync worker whatever the token: Synapse's own, a guest's or a bridge's.

Only tokens that Synapse makes for users say whose they are. For the others synproxy asks Synapse
once (``synapse: whoami``) while the request goes on, so the first one may still go elsewhere.
"""

from __future__ import annotations

import json

from tests.e2e.landing import AccessLog
from tests.e2e.people import unknown_token
from tests.support.client import Client
from tests.support.lab import Lab
from tests.support.lab.child import wait_until
from tests.support.lab.deployment import BRIDGE_TOKEN, BRIDGED
from tests.support.lab.logs import processed_targets
from tests.support.synproxy import Synproxy

V3 = "/_matrix/client/v3"
SYNC = f"{V3}/sync?since=s1"
USERS = 12


def register_guest(proxy: Synproxy) -> tuple[str, str]:
    """A new guest's localpart and token."""
    with Client(proxy.port) as client:
        client.send(
            f"POST {V3}/register?kind=guest HTTP/1.1\r\n"
            "Host: lab.test\r\nContent-Length: 2\r\n\r\n{}".encode()
        )
        answer = client.read_answer(b"POST")
    assert answer is not None
    assert answer.status == 200
    guest = json.loads(answer.body)
    return guest["user_id"][1:].partition(":")[0], guest["access_token"]


def look_ups(lab: Lab) -> int:
    found = processed_targets(lab.places, lab.processes)
    return len(found.get(f"{V3}/account/whoami", ()))


def test_guests_stay_with_the_worker_of_their_name(
    lab: Lab, shipped_proxy: tuple[Synproxy, AccessLog]
) -> None:
    proxy, log = shipped_proxy
    before = look_ups(lab)
    names, tokens = zip(*(register_guest(proxy) for _ in range(USERS)), strict=True)
    assert not any(token.startswith("syt_") for token in tokens)
    log.landed(*((SYNC, token) for token in tokens))
    wait_until(lambda: look_ups(lab) == before + USERS, "whoami for each guest", 10)

    as_guests = log.landed(*((SYNC, token) for token in tokens))
    assert as_guests == log.landed(*((SYNC, unknown_token(name)) for name in names))
    assert set(as_guests) == {"normal_sync1", "normal_sync2"}
    assert look_ups(lab) == before + USERS


def test_users_of_a_bridge_stay_with_the_worker_of_their_name(
    lab: Lab, shipped_proxy: tuple[Synproxy, AccessLog]
) -> None:
    _, log = shipped_proxy
    names = [f"{BRIDGED}{number}" for number in range(USERS)]
    bridged = [(f"{SYNC}&user_id=%40{name}%3Alab.test", BRIDGE_TOKEN) for name in names]
    log.landed(bridged[0])
    by_bridge = log.landed(*bridged)
    assert by_bridge == log.landed(*((SYNC, unknown_token(name)) for name in names))
    assert set(by_bridge) == {"normal_sync1", "normal_sync2"}
