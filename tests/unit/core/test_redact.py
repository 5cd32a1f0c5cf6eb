"""Secrets in targets and referers are masked however they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.core.redact import redact

CANARY = "syt_canary"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/_matrix/client/v3/sync?access_token=syt_canary", "?access_token=<redacted>"),
        ("/sync?access_token=syt_canary&since=s1", "?access_token=<redacted>&since=s1"),
        ("/sync?since=s1&access_token=syt_canary", "?since=s1&access_token=<redacted>"),
        ("/sync?access%5ftoken=syt_canary&a=b", "?access%5ftoken=<redacted>&a=b"),
        ("/sync?access%5Ftoken=syt_canary", "?access%5Ftoken=<redacted>"),
        ("/sync?%61ccess_token=syt_canary", "?%61ccess_token=<redacted>"),
        ("/sync?ACCESS_TOKEN=syt_canary", "?ACCESS_TOKEN=<redacted>"),
        ("/sync?a=b;access_token=syt_canary", ";access_token=<redacted>"),
        ("/sync?access_token=a;syt_canary#x&c=d", "?access_token=<redacted>&c=d"),
        ("/sync?access_token%3Dsyt_canary", "?access_token%3D<redacted>"),
        ("/?loginToken=syt_canary", "?loginToken=<redacted>"),
        ("/x?client_secret=syt_canary&sid=1", "?client_secret=<redacted>&sid=1"),
        ("/register/m.login.registration_token/validity?token=syt_canary", "?token=<redacted>"),
        ("/_synapse/client/oidc/callback?code=syt_canary&state=x", "?code=<redacted>&state=x"),
        ("/login/cas/ticket?session=a&ticket=syt_canary", "&ticket=<redacted>"),
        ("/x?redirectUrl=https%3A%2F%2Fapp%2F%3FloginToken%3Dsyt_canary", "%3FloginToken%3D<red"),
        ("/x?u=https%253A%252F%252Fapp%253FloginToken%253Dsyt_canary", "loginToken%253D<red"),
        ("https://app.example/#/?loginToken=syt_canary", "/#/?loginToken=<redacted>"),
        ("/_synapse/admin/v1/registration_tokens/syt_canary", "/registration_tokens/<redacted>"),
        ("/_synapse/admin/v1/registration_tokens/syt_canary?x=y", "<redacted>?x=y"),
    ],
)
def test_a_secret_is_replaced_and_the_rest_stays(text: str, expected: str) -> None:
    redacted = redact(text)
    assert expected in redacted
    assert CANARY not in redacted


@pytest.mark.parametrize(
    "text",
    [
        "/_matrix/client/versions",
        "/_matrix/client/v3/sync?since=s1_2_3&timeout=30000&filter=%7B%22a%22%3A1%7D",
        "/_matrix/client/v3/rooms/%21a%3Ab.example/messages?from=t1-2&dir=b",
        "/_matrix/client/v3/sync?access_token=",
        "/_synapse/admin/v1/registration_tokens/new",
        "/_matrix/client/v1/register/m.login.registration_token/validity",
        "/x?barcode=1&decode=2",
    ],
)
def test_a_target_without_secrets_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


NAMES = ["access_token", "loginToken", "client_secret", "token", "refresh_token", "code", "ticket"]


@st.composite
def disguised(draw: st.DrawFn, name: str) -> str:
    """`name` with characters in either case and percent-encoded up to three times."""
    written = ""
    for char in name:
        char = draw(st.sampled_from([char.lower(), char.upper()]))
        depth = draw(st.integers(0, 3))
        if depth:
            code = draw(st.sampled_from([f"{ord(char):02x}", f"{ord(char):02X}"]))
            char = "%" + "25" * (depth - 1) + code
        written += char
    return written


ANYTHING = st.text(st.characters(max_codepoint=0xFF), max_size=12)


@given(data=st.data(), before=ANYTHING, inside=ANYTHING)
def test_no_disguise_of_a_name_lets_its_value_through(
    data: st.DataObject, before: str, inside: str
) -> None:
    name = data.draw(st.sampled_from(NAMES).flatmap(disguised))
    inside = inside.replace("&", "")
    after = data.draw(st.sampled_from(["", "&since=s1", "&a%3Db", "#x"]))
    assert CANARY not in redact(f"/sync?{before}&{name}={inside}{CANARY}{after}")
