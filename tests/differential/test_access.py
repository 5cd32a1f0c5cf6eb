"""An address is judged as nginx's allow and deny judge it."""

from __future__ import annotations

import ipaddress
import random
from pathlib import Path

import pytest

from synproxy.config.model import AccessRule, Allowlist
from synproxy.core.allowlist import Access
from tests.differential.locations import ask, serve

ADDRESSES = (
    *("127.0.0.1", "10.0.0.1", "10.1.2.3", "192.0.2.1", "203.0.113.255"),
    *("::1", "2001:db8::1", "2001:db8:1::1", "fe80::1", "::ffff:10.0.0.1", "::ffff:c000:201"),
)
LENGTHS = {4: (0, 1, 8, 9, 24, 31, 32), 6: (0, 10, 32, 48, 96, 104, 127, 128)}


def random_rule(rng: random.Random) -> tuple[str, str]:
    word = rng.choice(("allow", "deny"))
    kind = rng.random()
    if kind < 0.1:
        return word, "all"
    if kind < 0.15:
        return word, "unix:"
    address = rng.choice(ADDRESSES)
    if kind < 0.5:
        return word, address
    return word, f"{address}/{rng.choice(LENGTHS[ipaddress.ip_address(address).version])}"


def location(number: int, satisfy: str, rules: list[tuple[str, str]]) -> str:
    directives = "".join(f"{word} {value}; " for word, value in rules)
    # "return" comes before the access phase, so the answer is a file that is not there
    return f"location /{number}/ {{ satisfy {satisfy}; {directives} }}\n"


@pytest.mark.parametrize("satisfy", ["all", "any"])
def test_random_rules_are_judged_as_by_nginx(tmp_path: Path, satisfy: str) -> None:
    rng = random.Random(7)
    lists = [[random_rule(rng) for _ in range(rng.randint(0, 5))] for _ in range(60)]
    verdicts = [
        Access([("x", Allowlist(rules=tuple(AccessRule(**{w: v}) for w, v in rules)))], satisfy)
        for rules in lists
    ]
    realip = f"root {tmp_path}; set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;\n"
    blocks = (location(number, satisfy, rules) for number, rules in enumerate(lists))
    seen = set()
    with serve(tmp_path, realip + "".join(blocks)) as nginx:
        for number, rules in enumerate(lists):
            for address in ADDRESSES:
                status, _ = ask(nginx, b"/%d/x" % number, fields=f"X-Real-IP: {address}\r\n")
                seen.add(status)
                permitted = verdicts[number].permits(address.encode())
                assert (status == 404) == permitted, (address, rules, status)
    assert seen == {403, 404}
