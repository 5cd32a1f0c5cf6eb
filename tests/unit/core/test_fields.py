"""What the proxy knows about field names."""

from __future__ import annotations

import pytest

from synproxy.core.fields import HOP_BY_HOP, NEVER_STRIPPED, tokens


@pytest.mark.parametrize(
    ("value", "members"),
    [
        (b"", []),
        (b"close", [b"close"]),
        (b"Keep-Alive, X-Hop", [b"keep-alive", b"x-hop"]),
        (b" \ta ,\tb\t", [b"a", b"b"]),
        (b",a,,b,", [b"a", b"b"]),  # RFC 9110 section 5.6.1.2: empty members are passed over
        (b" , ", []),
        (b"a b", [b"a b"]),
        (b"max-age=5,NO-TRANSFORM", [b"max-age=5", b"no-transform"]),
    ],
)
def test_a_list_is_read_member_by_member(value: bytes, members: list[bytes]) -> None:
    assert tokens(value) == members


def test_the_lists_are_lower_case_and_disjoint() -> None:
    for name in HOP_BY_HOP | NEVER_STRIPPED:
        assert name == name.lower().strip()
    assert not HOP_BY_HOP & NEVER_STRIPPED


@pytest.mark.parametrize(
    "name",
    # RFC 9110 section 7.6.1, as an intermediary must remove them even if Connection is silent.
    [b"connection", b"proxy-connection", b"keep-alive", b"te", b"transfer-encoding", b"upgrade"],
)
def test_the_fields_that_the_standard_names_end_here(name: bytes) -> None:
    assert name in HOP_BY_HOP
