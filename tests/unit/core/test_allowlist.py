"""Allowlists judge an address as nginx's allow and deny do."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.config.model import AccessRule, Allowlist
from synproxy.core.allowlist import MEMO_ENTRIES, Access, AccessVerdict


def rules(*texts: str) -> Allowlist:
    """``allow X`` and ``deny X`` as in nginx."""
    return Allowlist(
        rules=tuple(
            AccessRule(**{word: value}) for word, value in (text.split(" ", 1) for text in texts)
        )
    )


def access(*texts: str) -> Access:
    return Access([("private", rules(*texts))], "all")


SEED = (
    "allow 127.0.0.1",
    "allow ::1",
    "allow 12.23.45.78",
    "allow dead:beef::/48",
    "allow 2a10:1234:abcd::1",
    "deny all",
)


@pytest.mark.parametrize(
    ("texts", "address", "permitted"),
    [
        (SEED, b"127.0.0.1", True),
        (SEED, b"127.0.0.2", False),
        (SEED, b"::1", True),
        (SEED, b"::2", False),
        (SEED, b"dead:beef:0:ffff::1", True),
        (SEED, b"dead:beef:1::1", False),
        (SEED, b"2a10:1234:abcd:0:0:0:0:1", True),
        (SEED, b"2A10:1234:ABCD::1", True),
        (SEED, b"::ffff:127.0.0.1", True),
        (SEED, b"::ffff:7f00:1", True),
        (SEED, b"::ffff:127.0.0.2", False),
        (SEED, b"unix:", False),
        (("allow 10.0.0.0/8",), b"192.0.2.1", True),
        (("deny 10.0.0.0/8",), b"10.255.0.1", False),
        (("deny 10.0.0.0/8",), b"11.0.0.1", True),
        (("deny 10.1.2.3/8",), b"10.9.9.9", False),
        (("allow 10.0.0.1", "deny 10.0.0.0/8"), b"10.0.0.1", True),
        (("deny 10.0.0.0/8", "allow 10.0.0.1"), b"10.0.0.1", False),
        (("deny 0.0.0.0/0",), b"192.0.2.1", False),
        (("deny 0.0.0.0/0",), b"2001:db8::1", True),
        (("deny 0.0.0.0/0",), b"unix:", True),
        (("deny ::/0",), b"2001:db8::1", False),
        (("deny ::/0",), b"192.0.2.1", True),
        (("deny ::/0",), b"::ffff:192.0.2.1", False),
        (("allow 10.0.0.1", "deny ::/0"), b"::ffff:192.0.2.1", True),
        (("deny ::ffff:0:0/96",), b"::ffff:192.0.2.1", False),
        (("allow unix:", "deny all"), b"unix:", True),
        (("allow unix:", "deny all"), b"127.0.0.1", False),
        (("deny unix:",), b"unix:", False),
        (("allow all", "deny all"), b"192.0.2.1", True),
        (("allow fe80::/10", "deny all"), b"fe80::1%eth0", True),
        (("allow fe80::/10", "deny all"), b"fe80::1", True),
    ],
)
def test_the_first_rule_that_matches_decides(
    texts: tuple[str, ...], address: bytes, permitted: bool
) -> None:
    verdicts = access(*texts)
    assert [verdicts.permits(address) for _ in range(2)] == [permitted] * 2


@pytest.mark.parametrize(
    "address", [b"", b"example.org", b"192.0.2.1:80", b"[::1]", b"\xff", b"unix:/run/x.sock"]
)
def test_an_address_that_cannot_be_read_is_refused(address: bytes) -> None:
    assert not access("allow all").permits(address)


def test_without_lists_everybody_is_permitted() -> None:
    for satisfy in ("all", "any"):
        assert Access([], satisfy).permits(b"192.0.2.1")
        assert Access([], satisfy).permits(b"unix:")


ALLOWS, DENIES, SILENT = rules("allow all"), rules("deny all"), rules("deny 203.0.113.1")


@pytest.mark.parametrize(
    ("satisfy", "lists", "permitted"),
    [
        ("all", (ALLOWS, ALLOWS), True),
        ("all", (ALLOWS, DENIES), False),
        ("all", (DENIES, ALLOWS), False),
        ("all", (ALLOWS, SILENT), True),
        ("all", (SILENT, DENIES), False),
        ("all", (SILENT, SILENT), True),
        ("any", (ALLOWS, DENIES), True),
        ("any", (DENIES, ALLOWS), True),
        ("any", (DENIES, DENIES), False),
        ("any", (DENIES, SILENT), False),
        ("any", (SILENT, DENIES), False),
        ("any", (SILENT, SILENT), True),
        ("any", (SILENT, ALLOWS), True),
    ],
)
def test_several_lists_are_joined_by_satisfy(
    satisfy: str, lists: tuple[Allowlist, ...], permitted: bool
) -> None:
    named = [(f"list{number}", entry) for number, entry in enumerate(lists)]
    assert Access(named, satisfy).permits(b"192.0.2.1") is permitted


def test_a_verdict_names_the_list_and_the_rule() -> None:
    verdicts = Access([("office", rules("allow 10.0.0.0/8")), ("private", rules(*SEED))], "all")
    assert verdicts.explain(b"192.0.2.1") == AccessVerdict(False, "private", 6, "deny all")
    assert verdicts.explain(b"127.0.0.1") == AccessVerdict(True, "private", 1, "allow 127.0.0.1")
    assert verdicts.explain(b"10.0.0.1") == AccessVerdict(False, "private", 6, "deny all")


def test_a_verdict_without_a_rule_says_so() -> None:
    assert access("deny 10.0.0.1").explain(b"10.0.0.2") == AccessVerdict(True, "", 0, "")
    assert access("deny all").explain(b"?").rule == "the address cannot be read"


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("10.0.0.0/33", "rule 2"),
        ("10.0.0", "rule 2"),
        ("example.org", "rule 2"),
        ("10.0.0.0/255.0.0.0", "'255.0.0.0' is not a prefix length"),
        ("10.0.0.0/", "'' is not a prefix length"),
        ("unix:/run/x.sock", "rule 2"),
    ],
)
def test_a_rule_that_cannot_be_read_is_an_error(value: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=r"allowlist 'private', rule 2") as caught:
        access("allow 127.0.0.1", f"deny {value}")
    assert complaint in str(caught.value)


def test_a_rule_is_either_allow_or_deny() -> None:
    for rule in (AccessRule(), AccessRule(allow="all", deny="all")):
        with pytest.raises(ValueError, match="exactly one of allow and deny"):
            Access([("private", Allowlist(rules=(rule,)))], "all")


def test_satisfy_is_all_or_any() -> None:
    with pytest.raises(ValueError, match="not 'some'"):
        Access([], "some")


NETWORKS = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)),
    st.tuples(st.ip_addresses(v=6), st.integers(0, 128)),
).map(lambda pair: str(ipaddress.ip_network(f"{pair[0]}/{pair[1]}", strict=False)))


@given(st.lists(st.tuples(st.booleans(), NETWORKS), max_size=6), st.ip_addresses())
def test_a_verdict_equals_trying_rule_after_rule(
    written: list[tuple[bool, str]], address: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> None:
    verdicts = access(*(f"{'allow' if allow else 'deny'} {net}" for allow, net in written))
    expected = next((allow for allow, net in written if address in ipaddress.ip_network(net)), True)
    if not (address.version == 6 and address.ipv4_mapped):
        assert verdicts.permits(str(address).encode()) is expected


def test_the_memory_of_addresses_is_bounded() -> None:
    verdicts = access("deny 10.0.0.0/9")
    for number in range(3 * MEMO_ENTRIES):
        address = ipaddress.ip_address(0x0A7F0000 + number * 16)
        expected = address not in ipaddress.ip_network("10.0.0.0/9")
        assert verdicts.permits(str(address).encode()) is expected
    assert len(verdicts._memo) <= MEMO_ENTRIES
