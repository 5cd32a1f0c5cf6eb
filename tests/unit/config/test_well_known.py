"""Documents that clients could not read are mistakes of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from synproxy.config.loader import loads
from synproxy.config.well_known import is_server_name, is_url
from synproxy.errors import ConfigError

GOOD = """\
listeners: [8008]
well_known:
  client:
    m.homeserver: {base_url: https://matrix.example.org}
    m.identity_server: {base_url: "https://id.example.org/"}
    org.matrix.msc4143.rtc_foci: [{type: livekit, livekit_service_url: https://rtc.example.org}]
  server: {m.server: matrix.example.org:443}
  support:
    contacts:
      - {role: m.role.admin, email_address: admin@example.org, matrix_id: "@admin:example.org"}
      - {role: org.example.role.abuse, matrix_id: "@abuse:example.org"}
    support_page: https://example.org/help
  max_age: 4h
"""
CASES = Path(__file__).parent / "cases"


def test_good_documents_are_taken_as_they_are() -> None:
    config = loads(GOOD, "file.yaml")
    assert config.well_known.client is not None
    assert config.well_known.client["m.homeserver"] == {"base_url": "https://matrix.example.org"}
    assert config.well_known.server == {"m.server": "matrix.example.org:443"}
    assert config.well_known.support is not None
    assert len(config.well_known.support["contacts"]) == 2
    assert config.well_known.max_age == 14_400


def test_all_mistakes_in_documents_are_reported_at_once() -> None:
    expected = (CASES / "well_known.expected").read_text(encoding="utf-8").splitlines()
    text = (CASES / "well_known.yaml").read_text(encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        loads(text, "file.yaml")
    problems = [str(problem).removeprefix("file.yaml:") for problem in caught.value.problems]
    assert problems == expected


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("client: {}", '"m.homeserver" is missing in "client"'),
        ("client: https://x", 'client: expected a mapping, got "https://x"'),
        ("server: {}", '"m.server" is missing in "server"'),
        ("support: {}", '"support" needs "contacts" or "support_page"'),
        ("support: {contacts: []}", "contacts: at least one is needed"),
        ("support: {contacts: x}", 'contacts: expected a list, got "x"'),
        ("support: {contacts: [x]}", 'contacts: expected a mapping, got "x"'),
    ],
)
def test_a_document_that_lacks_what_it_is_for_is_a_mistake(written: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(f"listeners: [8008]\nwell_known: {{{written}}}\n", "file.yaml")
    assert [problem.message for problem in caught.value.problems] == [message]


@pytest.mark.parametrize("methods", ["", ", methods: [PUT]"])
def test_a_route_for_the_path_of_a_document_is_a_mistake(methods: str) -> None:
    route = (
        f"{{name: a, location: = /.well-known/matrix/server, respond: {{status: 404}}{methods}}}"
    )
    text = f"{GOOD}routes: [{route}]\n"
    with pytest.raises(ConfigError) as caught:
        loads(text, "file.yaml")
    (problem,) = caught.value.problems
    assert problem.line == 14
    assert problem.message == "well_known.server answers /.well-known/matrix/server already"


def test_a_route_that_covers_the_path_among_others_is_none() -> None:
    loads(f"{GOOD}routes: [{{name: a, location: /.well-known/, respond: {{status: 404}}}}]\n", "f")


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("https://matrix.example.org", True),
        ("https://matrix.example.org/", True),
        ("http://localhost:8008", True),
        ("https://[2001:db8::1]:8448/base", True),
        ("matrix.example.org", False),
        ("ftp://matrix.example.org", False),
        ("https://", False),
        ("https:///x", False),
        ("https://user@matrix.example.org", False),
        ("https://matrix.example.org?x", False),
        ("https://matrix.example.org/#x", False),
        ("https://matrix.example.org:x", False),
        ("https://matrix.example.org:0", False),
        ("https://matrix.example.org:70000", False),
        ("https://matrix example.org", False),
        ("https://mätrix.example.org", False),
        ("", False),
    ],
)
def test_a_base_url_is_one_that_clients_can_use(text: str, good: bool) -> None:
    assert is_url(text) == good


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("matrix.example.org:443", True),
        ("matrix.example.org", True),
        ("192.0.2.1:8448", True),
        ("[2001:db8::1]", True),
        ("[2001:db8::1]:8448", True),
        ("localhost:8448", True),
        ("https://matrix.example.org", False),
        ("matrix.example.org/", False),
        ("matrix.example.org:", False),
        ("matrix.example.org:0", False),
        ("matrix.example.org:65536", False),
        ("matrix.example.org:443x", False),
        ("2001:db8::1", False),
        ("[2001:db8::x]", False),
        ("matrix..example.org", False),
        ("matrix_example.org", False),
        (":443", False),
        ("", False),
    ],
)
def test_a_server_name_is_a_host_and_perhaps_a_port(text: str, good: bool) -> None:
    assert is_server_name(text) == good
