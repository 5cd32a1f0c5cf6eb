"""A user stays with one sync worker whatever the token: Synapse's own, a guest's or a bridge's.

Only tokens that Synapse makes for users say whose they are. For the others synproxy asks Synapse
once (``synapse: whoami``) while the request goes on, so the first one may still go elsewhere.
"""

from __future__ import annotations

import base64
import json
import secrets

from tests.e2e.landing import AccessLog
from tests.support.client import Answer, Client
from tests.support.lab import Lab
from tests.support.lab.child import wait_until
from tests.support.lab.deployment import BRIDGE_TOKEN, BRIDGED
from tests.support.lab.logs import processed_targets
from tests.support.synproxy import Synproxy

V3 = "/_matrix/client/v3"
SYNC = f"{V3}/sync?since=s1"
USERS = 12


def ask(proxy: Synproxy, method: str, target: str, token: str = "", body: bytes = b"") -> Answer:
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: lab.test\r\n{authorization}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with Client(proxy.port) as client:
        client.send(head.encode() + body)
        answer = client.read_answer(method.encode())
    assert answer is not None
    return answer


def token_of(localpart: str) -> str:
    """A token as Synapse makes them for users. Nobody has it, but it names its user."""
    name = base64.b64encode(localpart.encode()).decode().rstrip("=")
    return f"syt_{name}_{secrets.token_hex(10)}_000000"


def look_ups(lab: Lab) -> int:
    found = processed_targets(lab.places, lab.processes)
    return len(found.get(f"{V3}/account/whoami", ()))


def landed(proxy: Synproxy, log: AccessLog, *requests: tuple[str, str]) -> list[str]:
    """The process that handled each of (target, token)."""
    mark = log.mark()
    for target, token in requests:
        ask(proxy, "GET", target, token)
    return [landing.processes[0] for landing in log.since(mark)]


def test_guests_stay_with_the_worker_of_their_name(
    lab: Lab, shipped_proxy: tuple[Synproxy, AccessLog]
) -> None:
    proxy, log = shipped_proxy
    before = look_ups(lab)
    tokens, names = [], []
    for _ in range(USERS):
        answer = ask(proxy, "POST", f"{V3}/register?kind=guest", body=b"{}")
        assert answer.status == 200
        guest = json.loads(answer.body)
        assert not guest["access_token"].startswith("syt_")
        tokens.append(guest["access_token"])
        names.append(guest["user_id"][1:].partition(":")[0])
    landed(proxy, log, *((SYNC, token) for token in tokens))
    wait_until(lambda: look_ups(lab) == before + USERS, "whoami for each guest", 10)

    as_guests = landed(proxy, log, *((SYNC, token) for token in tokens))
    assert as_guests == landed(proxy, log, *((SYNC, token_of(name)) for name in names))
    assert set(as_guests) == {"normal_sync1", "normal_sync2"}
    assert look_ups(lab) == before + USERS


def test_users_of_a_bridge_stay_with_the_worker_of_their_name(
    lab: Lab, shipped_proxy: tuple[Synproxy, AccessLog]
) -> None:
    proxy, log = shipped_proxy
    names = [f"{BRIDGED}{number}" for number in range(USERS)]
    bridged = [(f"{SYNC}&user_id=%40{name}%3Alab.test", BRIDGE_TOKEN) for name in names]
    landed(proxy, log, bridged[0])
    by_bridge = landed(proxy, log, *bridged)
    assert by_bridge == landed(proxy, log, *((SYNC, token_of(name)) for name in names))
    assert set(by_bridge) == {"normal_sync1", "normal_sync2"}
