"""Who may use a route: allowlists over the client's address, as nginx's access module judges.

This module must not know routes, paths or where the address comes from.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from synproxy.config.model import AccessRule, Allowlist
from synproxy.core.memo import Memo

MEMO_ENTRIES = 4096

_V4, _V6, _UNIX = 4, 6, 0
_MAPPED = 0xFFFF
"""The upper 96 bits of an IPv4-mapped address (RFC 4291 section 2.5.5.2)."""


@dataclass(frozen=True, slots=True)
class AccessVerdict:
    """Which rule decided. ``number`` counts from 1; 0 and empty texts: no rule matched."""

    allowed: bool
    list_name: str = ""
    number: int = 0
    rule: str = ""


@dataclass(frozen=True, slots=True)
class _Rule:
    number: int
    text: str
    allow: bool
    family: int | None  # None: all
    mask: int = 0
    network: int = 0


def _parse_rule(number: int, rule: AccessRule) -> _Rule:
    if (rule.allow is None) == (rule.deny is None):
        raise ValueError(f"rule {number}: exactly one of allow and deny is needed")
    allow = rule.allow is not None
    value = rule.allow if rule.allow is not None else rule.deny
    assert value is not None
    text = f"{'allow' if allow else 'deny'} {value}"
    if value == "all":
        return _Rule(number, text, allow, None)
    if value == "unix:":
        return _Rule(number, text, allow, _UNIX)
    _, slash, length = value.partition("/")
    if slash and not (length.isascii() and length.isdigit()):
        raise ValueError(f"rule {number}: {length!r} is not a prefix length")
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError as error:
        raise ValueError(f"rule {number}: {error}") from error
    start = int(network.network_address)
    return _Rule(number, text, allow, network.version, int(network.netmask), start)


class _List:
    """One allowlist, with its rules sorted out by address family as nginx does."""

    __slots__ = ("_rules", "name")

    def __init__(self, name: str, allowlist: Allowlist) -> None:
        self.name = name
        try:
            rules = [_parse_rule(n, rule) for n, rule in enumerate(allowlist.rules, start=1)]
        except ValueError as error:
            raise ValueError(f"allowlist {name!r}, {error}") from error
        self._rules = {
            family: [rule for rule in rules if rule.family in (family, None)]
            for family in (_V4, _V6, _UNIX)
        }

    def judge(self, family: int, address: int) -> _Rule | None:
        """The first rule that matches; None: this list has nothing to say."""
        if family == _V6 and address >> 32 == _MAPPED and self._rules[_V4]:
            # nginx: a list without IPv4 rules sees the mapped address as it is
            family, address = _V4, address & 0xFFFFFFFF
        for rule in self._rules[family]:
            if address & rule.mask == rule.network:
                return rule
        return None


class Access:
    """A route's allowlists. Raises ValueError for a rule that cannot be read.

    In one list the first rule that matches decides; a list without such a rule has no opinion.
    ``all``: one list that denies is enough to refuse. ``any``: one list that allows is enough to
    permit, and without one, a list that denies refuses. No opinion at all permits (nginx,
    ``satisfy``). An address that cannot be read is refused unless there are no lists.
    """

    __slots__ = ("_any", "_lists", "_memo")

    def __init__(self, lists: Sequence[tuple[str, Allowlist]], satisfy: str) -> None:
        if satisfy not in ("all", "any"):
            raise ValueError(f"satisfy is 'all' or 'any', not {satisfy!r}")
        self._lists = [_List(name, allowlist) for name, allowlist in lists]
        self._any = satisfy == "any"
        self._memo: Memo[bytes, AccessVerdict] = Memo(MEMO_ENTRIES)

    def permits(self, remote_addr: bytes) -> bool:
        """``remote_addr``: an IPv4 or IPv6 address without port, or ``unix:``."""
        return self.explain(remote_addr).allowed

    def explain(self, remote_addr: bytes) -> AccessVerdict:
        """The verdict and the rule it rests on."""
        found = self._memo.get(remote_addr) or self._memo.recall(remote_addr)
        if found is None:
            found = self._judge(remote_addr)
            self._memo.store(remote_addr, found)
        return found

    def _judge(self, remote_addr: bytes) -> AccessVerdict:
        if not self._lists:
            return AccessVerdict(True)
        try:
            family, address = _parse_address(remote_addr)
        except ValueError:
            return AccessVerdict(False, rule="the address cannot be read")
        decided: AccessVerdict | None = None
        for access_list in self._lists:
            rule = access_list.judge(family, address)
            if rule is None:
                continue
            verdict = AccessVerdict(rule.allow, access_list.name, rule.number, rule.text)
            if rule.allow is self._any:
                return verdict
            decided = decided or verdict
        return decided or AccessVerdict(True)


def _parse_address(remote_addr: bytes) -> tuple[int, int]:
    if remote_addr == b"unix:":
        return _UNIX, 0
    address, _, _zone = remote_addr.decode("ascii").partition("%")
    parsed = ipaddress.ip_address(address)
    return parsed.version, int(parsed)
