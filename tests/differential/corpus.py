"""The requests of the parity test: every endpoint, with and without ``since``, with every kind of
token and every encoding that nginx undoes before it chooses a location.

Each endpoint meets all of (since x token) on its plain path and each encoding once; what is not
part of such a product goes round. The same list comes out every time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from tests.differential.endpoints import Endpoint, endpoints

SOURCES = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.1.2.4", "127.99.0.1", "127.0.0.77", "::1")
HOSTS = ("matrix.example.org", "Matrix.Example.ORG:8448", "[2001:DB8::1]:8008", "192.0.2.1")
SINCE = ("", "since=s72594_4483_1934")
OTHER_SINCE = (
    "since=",
    "since",
    "SINCE=s1",
    "a=since=1&since=x&since=",
    "since=&since=s1",
    "&&since=%20",
)
LOCALPARTS = ("YWxpY2U", "Ym9i", "Y2Fyb2w", "ZGF2ZQ", "ZXZl", "ZnJhbms", "Z3JhY2U", "aGVpZGk")


@dataclass(frozen=True, slots=True)
class Token:
    """How a request carries its access token: header lines and query arguments."""

    name: str
    header: str = ""
    query: str = ""


def tokens(localpart: str) -> tuple[Token, ...]:
    """Every kind of token, for one user."""
    own = f"syt_{localpart}_bWzXrYsLzHgyXfRnQkPc_2gFUg8"
    other = f"mat_{localpart}wTx0qzKXWuTzMSpVWtbGPvIVcsd"
    return (
        Token("none"),
        Token("synapse token in the header", f"Authorization: Bearer {own}"),
        Token("other token in the header", f"Authorization: Bearer {other}"),
        Token("lower-case bearer", f"authorization: bearer {own}"),
        Token("synapse token in the query", query=f"access_token={own}"),
        Token("other token in the query", query=f"access_token={other}"),
        Token("encoded token in the query", query=f"access_token=syt_{localpart}%5Fb_1"),
        Token("both", f"Authorization: Bearer syt_{localpart}B_a_b", f"access_token={own}"),
    )


def _at_slash(path: str, number: int, replacement: str) -> str:
    """The path with one of its slashes replaced; ``number`` chooses which, never the first."""
    parts = path[1:].split("/")
    if len(parts) < 2:
        return path + replacement
    at = 1 + number % (len(parts) - 1)
    return "/" + "/".join(parts[:at]) + replacement + "/".join(parts[at:])


def _encoded_letter(path: str, number: int) -> str:
    letters = [at for at, letter in enumerate(path) if letter.isalpha()]
    at = letters[number * 7 % len(letters)]
    return f"{path[:at]}%{ord(path[at]):02{'xX'[number % 2]}}{path[at + 1 :]}"


ENCODINGS: dict[str, Callable[[str, int], str]] = {
    "encoded slash": lambda path, number: _at_slash(path, number, "%2F"),
    "double slash": lambda path, number: _at_slash(path, number, "//"),
    "leading slashes": lambda path, _: "//" + path,
    "dot segment": lambda path, number: _at_slash(path, number, "/./"),
    "dot-dot segment": lambda path, number: _at_slash(path, number, "/x/../"),
    "encoded dots": lambda path, number: _at_slash(path, number, "/x%2F%2e%2E/"),
    "above the root": lambda path, _: "/.." + path,
    "encoded letter": _encoded_letter,
    "twice encoded": lambda path, number: _encoded_letter(path, number).replace("%", "%25"),
    "upper case": lambda path, number: path.upper() if number % 2 else path.title(),
    "trailing slash": lambda path, _: path + "/",
    "trailing line feed": lambda path, _: path + "%0A",
    "trailing dots": lambda path, _: path + "/..",
    "encoded question mark": lambda path, _: path + "%3Fsince=1",
    "encoded NUL": lambda path, _: path + "%00",
    "cut escape": lambda path, number: path + ("%", "%2", "%zz", "%2x/")[number % 4],
    "fragment": lambda path, _: path + "#frag?since=1",
    "bytes above 127": lambda path, _: path + "/caf\xe9",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One request: who sends it, and all of its bytes."""

    number: int
    name: str
    source: str
    method: bytes
    request: bytes

    @property
    def id(self) -> bytes:
        return b"%d" % self.number


def build_corpus() -> list[Case]:
    """All cases, in the order in which both proxies get them."""
    numbers = count(1)
    return [
        case
        for turn, endpoint in enumerate(endpoints())
        for case in _cases(endpoint, turn, numbers)
    ]


def _cases(endpoint: Endpoint, turn: int, numbers: Iterator[int]) -> Iterator[Case]:
    kinds = tokens(LOCALPARTS[turn % len(LOCALPARTS)])
    for since in SINCE:
        for token in kinds:
            label = f"{token.name}, {'since' if since else 'no since'}"
            yield _case(endpoint, next(numbers), label, endpoint.path, since, token)
    for at, path in enumerate(endpoint.awkward):
        token, since = kinds[(turn + at) % len(kinds)], SINCE[at % 2]
        yield _case(endpoint, next(numbers), f"variant {at}", path, since, token)
    for at, (label, encode) in enumerate(ENCODINGS.items()):
        token, since = kinds[(turn + at) % len(kinds)], SINCE[(turn + at) % 2]
        path = encode(endpoint.path, turn)
        yield _case(endpoint, next(numbers), label, path, since, token)
    for at, since in enumerate(OTHER_SINCE):
        if (turn + at) % 3 == 0 or "sync" in endpoint.path:
            token = kinds[(turn + at) % len(kinds)]
            yield _case(endpoint, next(numbers), since, endpoint.path, since, token)


def _case(endpoint: Endpoint, number: int, label: str, path: str, since: str, token: Token) -> Case:
    arguments = [argument for argument in (since, "timeout=30000", token.query) if argument]
    query = ""
    if since or token.query or number % 5 == 0:
        query = "?" + "&".join(arguments[:: 1 if number % 2 else -1])
    elif number % 11 == 0:
        query = "?"
    lines = [
        f"{endpoint.method} {path}{query} HTTP/1.1",
        f"Host: {HOSTS[number % len(HOSTS) if number % 3 == 0 else 0]}",
        f"User-Agent: case/{number}",
        "Accept: application/json",
        "Accept-Encoding: gzip, deflate, br",
        *([token.header] if token.header else []),
        *(["Origin: https://app.element.io"] if number % 4 == 0 else []),
        *(["X-Forwarded-For: 203.0.113.7"] if number % 6 == 0 else []),
        f"X-Case: {number}",
    ]
    body = ""
    if endpoint.method in ("POST", "PUT"):
        body = f'{{"case":{number},"body":"{"b" * (number % 300)}"}}'
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    text = "\r\n".join([*lines, "", body])
    return Case(
        number,
        f"{endpoint.name}: {label}: {path[:120]}{query[:60]}",
        SOURCES[(number // 7) % len(SOURCES)],
        endpoint.method.encode(),
        text.encode("latin-1"),
    )
