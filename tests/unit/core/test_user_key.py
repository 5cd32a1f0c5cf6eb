"""A user has one key whatever the token, and a token is kept nowhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.core.template import RequestView
from synproxy.core.user_key import (
    FAILED_TTL,
    UNKNOWN_TTL,
    Owners,
    Source,
    UserKeys,
    access_token,
    argument,
    localpart_in,
    localpart_of,
    parse_whoami,
    token_digest,
    token_key,
)
from tests.unit.core.test_variables import Request

TTL = 3600.0
MAT = b"mat_canaryCANARYcanaryCANARYcana_0a1b2c"


@dataclass
class Clock:
    now: float = 1000.0


@dataclass
class Synapse:
    """Writes down what it is asked; the test answers."""

    asked: list[bytes] = field(default_factory=list)

    def ask(self, digest: bytes, token: bytes, view: RequestView) -> None:
        assert digest == token_digest(token)
        self.asked.append(token)


class Desk:
    """The books with everything around them."""

    def __init__(self, entries: int = 100, ttl: float = TTL) -> None:
        self.clock = Clock()
        self.synapse = Synapse()
        self.owners = Owners(entries, ttl, self.clock)
        self.keys = UserKeys(self.owners, self.synapse.ask)

    def learn(
        self, token: bytes, user_id: str, device_id: str | None = "D", status: int = 200
    ) -> None:
        answer: dict[str, object] = {"user_id": user_id, "is_guest": False}
        if device_id is not None:
            answer["device_id"] = device_id
        self.owners.learn(token_digest(token), status, json.dumps(answer).encode())

    def key(self, token: bytes, query: bytes = b"") -> bytes:
        return self.keys.key(bearing(token, query))


def bearing(token: bytes, query: bytes = b"") -> Request:
    return Request(headers={b"authorization": b"Bearer " + token}, query=query)


def syt(localpart: str, device: str = "abcdefghijKLMNOPQRST") -> bytes:
    encoded = base64.b64encode(localpart.encode()).decode().rstrip("=")
    return f"syt_{encoded}_{device}_0a1b2c".encode()


def hashed(token: bytes) -> bytes:
    return b"token:" + token_digest(token)[:8].hex().encode()


# --- reading tokens


@pytest.mark.parametrize(
    ("authorization", "query", "token"),
    [
        (b"Bearer abc", b"", b"abc"),
        (b"Bearer abc", b"access_token=def", b"abc"),
        (b"bearer abc", b"", b""),
        (b"BEARER abc", b"", b""),
        (b"Bearer  abc", b"", b""),
        (b"Bearer abc def", b"", b""),
        (b"Bearer", b"", b""),
        (b"Bearer", b"access_token=def", b""),
        (b"Bearer\tabc", b"", b""),
        (b"Basic YWxpY2U6eA==", b"access_token=def", b""),
        (b"X-Matrix origin=a", b"", b""),
        (b"", b"access_token=abc", b"abc"),
        (b"", b"since=1&access_token=abc&x=y", b"abc"),
        (b"", b"since=1;access_token=abc;x=y", b"abc"),
        (b"", b"access_token=abc&access_token=def", b"abc"),
        (b"", b"access%5Ftoken=abc", b"abc"),
        (b"", b"access%5ftoken=a&access_token=b", b"a"),
        (b"", b"access_token=YWxpY2U%3D%2b", b"YWxpY2U=+"),
        (b"", b"access_token=a+b", b"a b"),
        (b"", b"access_token=a=b", b"a=b"),
        (b"", b"access_token=%zz%2", b"%zz%2"),
        (b"", b"access_token", b""),
        (b"", b"access_token=", b""),
        (b"", b"access_token=&access_token=def", b""),
        (b"", b"ACCESS_TOKEN=abc", b""),
        (b"", b"xaccess_token=abc", b""),
        (b"", b"x=access_token=abc", b""),
        (b"", b"", b""),
    ],
)
def test_a_token_is_read_as_synapse_reads_it(
    authorization: bytes, query: bytes, token: bytes
) -> None:
    assert access_token(authorization, query) == token


QUERIES = st.lists(
    st.sampled_from(
        [
            "access_token",
            "access%5ftoken",
            "%61ccess_token",
            "user_id",
            "=",
            "&",
            ";",
            "+",
            "%",
            "a",
        ]
    ),
    max_size=12,
).map("".join)


@given(QUERIES, st.sampled_from(["access_token", "user_id", "a"]))
def test_an_argument_is_what_a_plain_parser_finds_first(query: str, name: str) -> None:
    pairs = parse_qsl(query.replace(";", "&"), keep_blank_values=True, encoding="latin-1")
    # A name without "=" is no pair for Twisted.
    written = [pair for pair in query.replace(";", "&").split("&") if pair]
    found = [
        value
        for pair, (key, value) in zip(written, pairs, strict=True)
        if "=" in pair and key == name
    ]
    read = argument(query.encode(), name.encode()).decode("latin-1")
    assert read == (found[0] if found else "")


@pytest.mark.parametrize(
    ("token", "localpart"),
    [
        (b"syt_YWxpY2U_abcdefghijKLMNOPQRST_0a1b2c", b"alice"),
        (b"syt_YQ_abcdefghijKLMNOPQRST_0a1b2c", b"a"),
        (b"syt_w7xzZXI_abcdefghijKLMNOPQRST_0a1b2c", "üser".encode()),
        (b"syt_YWxpY2U=_abc_def", b"alice"),
        (b"syt_Kz8/_x_y", b"+??"),
        (b"syt_YWxpY2U_", b"alice"),
        (b"syt_YWxpY2U", b""),
        (b"syt_YWxpY_x_y", b""),
        (b"syt_YWx*pY2U_x_y", b""),
        (b"syt_-_x_y", b""),
        (b"syt__x_y", b""),
        (b"syt_", b""),
        (b"SYT_YWxpY2U_x_y", b""),
        (b"syr_YWxpY2U_x_y", b""),
        (b"mat_YWxpY2U_x", b""),
        (b"", b""),
    ],
)
def test_synapses_own_tokens_name_their_user(token: bytes, localpart: bytes) -> None:
    for _ in range(2):  # decoded, then remembered
        assert localpart_in(token) == localpart


@pytest.mark.parametrize(
    ("user_id", "localpart"),
    [
        (b"@alice:example.org", b"alice"),
        (b"@alice:example.org:8448", b"alice"),
        (b"@a/b=c:[::1]", b"a/b=c"),
        (b"@:example.org", b""),
        (b"@alice", b""),
        (b"@alice:", b""),
        (b"alice:example.org", b""),
        (b"", b""),
    ],
)
def test_a_localpart_stands_between_the_at_and_the_first_colon(
    user_id: bytes, localpart: bytes
) -> None:
    assert localpart_of(user_id) == localpart


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"user_id": "@alice:x", "is_guest": false, "device_id": "D"}', (b"alice", False)),
        (b'{"user_id": "@bridge:x", "is_guest": false}', (b"bridge", True)),
        (b'{"user_id": "@\\u00fcser:x", "device_id": "D"}', ("üser".encode(), False)),
        (b'{"user_id": "@%b:x"}' % (b"a" * 9000), (b"a" * 255, True)),
        (b'{"user_id": "@\\ud800:x"}', (b"\xed\xa0\x80", True)),
        (b'{"user_id": "alice"}', None),
        (b'{"user_id": 1}', None),
        (b"{}", None),
        (b"[]", None),
        (b"null", None),
        (b"", None),
        (b"\xff", None),
        (b"[" * 60_000, None),
    ],
)
def test_an_answer_names_the_user_or_says_nothing(
    body: bytes, found: tuple[bytes, bool] | None
) -> None:
    assert parse_whoami(body) == found


# --- keys


def test_the_devices_of_a_user_have_one_key_with_any_kind_of_token() -> None:
    desk = Desk()
    desk.learn(MAT, "@alice:example.org")
    tokens = [syt("alice"), syt("alice", "other"), MAT]
    assert {desk.key(token) for token in tokens} == {b"alice"}
    assert desk.synapse.asked == []


def test_a_token_that_says_nothing_is_a_hash_until_synapse_has_said_whose_it_is() -> None:
    desk = Desk()
    assert desk.key(MAT) == hashed(MAT)
    assert desk.synapse.asked == [MAT]
    desk.learn(MAT, "@alice:example.org")
    assert desk.key(MAT) == b"alice"
    assert desk.synapse.asked == [MAT]


def test_without_look_ups_a_token_is_a_hash() -> None:
    assert UserKeys().resolve(bearing(MAT)) == (hashed(MAT), Source.HASH)
    assert UserKeys().resolve(bearing(syt("alice"))) == (b"alice", Source.TOKEN)


def test_a_guest_is_a_user_like_others() -> None:
    desk = Desk()
    macaroon = b"MDAwZGxvY2F0aW9uIHgKMDAxMGlkZW50aWZpZXIga2V5Cg"
    desk.learn(macaroon, "@17:example.org", device_id="guest_device")
    assert desk.keys.resolve(bearing(macaroon)) == (b"17", Source.WHOAMI)


@pytest.mark.parametrize(
    ("query", "key", "source"),
    [
        (b"", b"bridge", Source.WHOAMI),
        (b"user_id=@irc_bob:example.org", b"irc_bob", Source.USER_ID),
        (b"user_id=%40irc_bob%3Aexample.org", b"irc_bob", Source.USER_ID),
        (b"user_id=nonsense", b"bridge", Source.WHOAMI),
        (b"user_id=", b"bridge", Source.WHOAMI),
    ],
)
def test_an_application_service_says_for_whom_it_acts(
    query: bytes, key: bytes, source: Source
) -> None:
    desk = Desk()
    desk.learn(b"as_secret", "@bridge:example.org", device_id=None)
    assert desk.keys.resolve(bearing(b"as_secret", query)) == (key, source)


def test_other_users_cannot_act_for_anybody() -> None:
    desk = Desk()
    desk.learn(MAT, "@alice:example.org")
    assert desk.key(MAT, b"user_id=@bob:example.org") == b"alice"
    assert desk.key(syt("alice"), b"user_id=@bob:example.org") == b"alice"


def test_the_users_of_an_unknown_service_do_not_share_a_key() -> None:
    keys = {
        UserKeys().key(bearing(b"as_secret", query))
        for query in (b"", b"user_id=@a:x", b"user_id=@b:x")
    }
    assert keys == {
        hashed(b"as_secret"),
        hashed(b"as_secret") + b"/@a:x",
        hashed(b"as_secret") + b"/@b:x",
    }


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"authorization": b"Bearer"},
        {b"authorization": b"bearer syt_YWxpY2U_x_y"},
        {b"authorization": b"Bearer syt_YWxpY2U_x_y z"},
        {b"authorization": b"Basic YWxpY2U6eA=="},
    ],
)
def test_without_a_token_the_address_is_the_key(headers: dict[bytes, bytes]) -> None:
    desk = Desk()
    desk.key(b"syt_YWxpY2U_x_y")  # remembered
    assert desk.keys.key(Request(headers=headers)) == b"192.0.2.1"
    assert desk.keys.resolve(Request(headers=headers))[1] is Source.ADDRESS
    assert desk.synapse.asked == []


def test_without_a_token_clients_of_a_unix_socket_are_spread() -> None:
    assert UserKeys().resolve(Request(remote_addr=b"unix:")) == (b"", Source.NOTHING)


@pytest.mark.parametrize(
    "query",
    [b"a%0d%0aX-Evil:%201", b"a%00b", b"a+b", b"%c3%bc", b"a" * 4097],
)
def test_what_cannot_be_a_token_is_not_asked_about(query: bytes) -> None:
    desk = Desk()
    key = desk.keys.key(Request(query=b"access_token=" + query))
    assert key.startswith(b"token:")
    assert desk.synapse.asked == []


# --- what is known, and for how long


def test_an_answer_that_has_expired_is_used_until_a_new_one_is_there() -> None:
    desk = Desk()
    desk.learn(MAT, "@alice:example.org")
    desk.clock.now += TTL - 1
    assert desk.key(MAT) == b"alice"
    assert desk.synapse.asked == []
    desk.clock.now += 1
    assert desk.key(MAT) == b"alice"
    assert desk.synapse.asked == [MAT]
    desk.learn(MAT, "@bob:example.org")
    assert desk.key(MAT) == b"bob"
    assert desk.synapse.asked == [MAT]


@pytest.mark.parametrize(
    ("status", "body", "pause"),
    [
        (401, b'{"errcode": "M_UNKNOWN_TOKEN"}', UNKNOWN_TTL),
        (0, b"", FAILED_TTL),
        (502, b"", FAILED_TTL),
        (403, b"{}", FAILED_TTL),
        (200, b"not JSON", FAILED_TTL),
    ],
)
def test_a_look_up_without_success_is_not_repeated_at_once(
    status: int, body: bytes, pause: float
) -> None:
    desk = Desk()
    desk.key(MAT)
    desk.owners.learn(token_digest(MAT), status, body)
    desk.clock.now += pause - 0.5
    assert desk.key(MAT) == hashed(MAT)
    assert desk.synapse.asked == [MAT]
    desk.clock.now += 0.5
    assert desk.key(MAT) == hashed(MAT)
    assert desk.synapse.asked == [MAT, MAT]


def test_a_user_stays_known_while_synapse_cannot_be_asked() -> None:
    desk = Desk()
    desk.learn(MAT, "@alice:example.org")
    for _ in range(3):
        desk.clock.now += TTL
        assert desk.key(MAT) == b"alice"
        desk.owners.learn(token_digest(MAT), 0, b"")
    assert desk.synapse.asked == [MAT] * 3
    desk.clock.now += TTL
    desk.owners.learn(token_digest(MAT), 401, b"")
    assert desk.key(MAT) == hashed(MAT)


@pytest.mark.parametrize("how", ["header", "query"])
def test_a_token_that_synapse_refuses_is_forgotten(how: str) -> None:
    desk = Desk()
    desk.learn(MAT, "@alice:example.org")
    if how == "header":
        desk.keys.refused(b"Bearer " + MAT, b"")
    else:
        desk.keys.refused(b"", b"access_token=" + MAT)
    assert desk.key(MAT) == hashed(MAT)
    assert desk.synapse.asked == [MAT]


def test_a_refusal_does_not_make_an_unknown_token_worth_a_look_up() -> None:
    desk = Desk()
    desk.key(MAT)
    desk.owners.learn(token_digest(MAT), 401, b"")
    for _ in range(5):
        desk.keys.refused(b"Bearer " + MAT, b"")
        desk.key(MAT)
    assert desk.synapse.asked == [MAT]


def test_refusals_of_nothing_change_nothing() -> None:
    desk = Desk()
    desk.keys.refused(b"", b"")
    desk.keys.refused(b"Bearer " + MAT, b"")
    desk.keys.refused(b"Bearer " + syt("alice"), b"")
    UserKeys().refused(b"Bearer " + MAT, b"")
    assert len(desk.owners) == 0


def test_a_flood_of_tokens_does_not_grow_the_books() -> None:
    desk = Desk(entries=50)
    for number in range(1000):
        token = b"mat_%d" % number
        desk.key(token)
        desk.learn(token, f"@u{number}:x")
        assert len(desk.owners) <= 50
    assert desk.key(b"mat_999") == b"u999"


def reachable(start: object) -> Iterable[object]:
    """Everything that hangs on an object of ours."""
    seen: set[int] = set()
    waiting = [start]
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, type) or callable(item):
            continue
        seen.add(id(item))
        yield item
        if isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple | set | frozenset):
            waiting += item
        else:
            waiting += getattr(item, "__dict__", {}).values()
            slots = (name for kind in type(item).__mro__ for name in getattr(kind, "__slots__", ()))
            waiting += [getattr(item, name) for name in slots if hasattr(item, name)]


@pytest.mark.interpreted
def test_no_token_is_kept_and_none_is_shown() -> None:
    desk = Desk()
    desk.key(MAT)
    desk.learn(MAT, "@alice:example.org")
    desk.key(MAT)
    kept = [item for item in reachable(desk.owners) if isinstance(item, bytes | str)]
    assert token_digest(MAT) in kept
    assert b"alice" in kept
    assert not any("canary" in str(item) for item in kept)
    assert "canary" not in repr(desk.owners) + repr(desk.keys) + repr(
        desk.owners.find(token_digest(MAT))
    )


# --- remembered is computed


TOKENS = [MAT, b"mct_b", b"as_c", syt("alice"), syt("bob"), b"syt_bad", b"a b", b""]
ANSWERS = [
    (200, b'{"user_id": "@alice:x", "device_id": "D"}'),
    (200, b'{"user_id": "@bridge:x"}'),
    (401, b"{}"),
    (0, b""),
]
STEPS = st.one_of(
    st.tuples(st.just("key"), st.sampled_from(TOKENS), st.sampled_from([b"", b"user_id=@p:x"])),
    st.tuples(st.just("learn"), st.sampled_from(TOKENS[:3]), st.sampled_from(ANSWERS)),
    st.tuples(st.just("refused"), st.sampled_from(TOKENS), st.none()),
    st.tuples(st.just("pass"), st.sampled_from([1.0, 30.0, 100.0]), st.none()),
)


class Model:
    """The rules without anything remembered twice: a dict that forgets nothing by itself."""

    def __init__(self) -> None:
        self.owners: dict[bytes, tuple[bytes, bool, float]] = {}
        self.asked: list[bytes] = []

    def key(self, token: bytes, query: bytes, now: float) -> bytes:
        if not token or b" " in token:
            return b"192.0.2.1"
        if token.startswith(b"syt_") and token.count(b"_") == 3:
            encoded = token.split(b"_")[1]
            return base64.b64decode(encoded + b"==")
        localpart, acts, expires = self.owners.get(token, (b"", False, 0.0))
        if expires <= now:
            self.asked.append(token)
        if not localpart:
            return token_key(token_digest(token), query)
        return b"p" if acts and query else localpart

    def learn(self, token: bytes, status: int, body: bytes, now: float, ttl: float) -> None:
        if status == 200:
            user = json.loads(body)
            acts = "device_id" not in user
            self.owners[token] = (user["user_id"][1:-2].encode(), acts, now + ttl)
        elif status == 401:
            self.owners[token] = (b"", False, now + min(UNKNOWN_TTL, ttl))
        else:
            localpart, acts, _ = self.owners.get(token, (b"", False, 0.0))
            self.owners[token] = (localpart, acts, now + min(FAILED_TTL, ttl))

    def refused(self, token: bytes) -> None:
        if self.owners.get(token, (b"",))[0]:
            del self.owners[token]


@given(st.lists(STEPS, max_size=40), st.sampled_from([5.0, 50.0, 500.0]))
def test_a_remembered_key_is_the_computed_one(
    steps: list[tuple[str, bytes | float, object]], ttl: float
) -> None:
    desk = Desk(ttl=ttl)
    model = Model()
    for what, subject, detail in steps:
        now = desk.clock.now
        if what == "pass":
            assert isinstance(subject, float)
            desk.clock.now += subject
            continue
        assert isinstance(subject, bytes)
        if what == "key":
            assert isinstance(detail, bytes)
            view = bearing(subject, detail) if subject else Request(query=detail)
            expected = model.key(subject, detail, now)
            assert desk.keys.key(view) == expected
            assert desk.synapse.asked == model.asked
            assert desk.keys.resolve(view)[0] == expected
            del desk.synapse.asked[len(model.asked) :]
        elif what == "learn":
            assert isinstance(detail, tuple)
            status, body = detail
            desk.owners.learn(token_digest(subject), status, body)
            model.learn(subject, status, body, now, ttl)
        else:
            desk.keys.refused(b"Bearer " + subject if subject else b"", b"")
            model.refused(subject)
