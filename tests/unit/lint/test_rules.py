"""Each rule finds what it is for, at its place, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from synproxy.config import document
from synproxy.config.loader import loads, read_text
from synproxy.lint.finding import Finding, Severity
from synproxy.lint.lint import lint
from synproxy.lint.subject import Subject
from synproxy.synapse.catalogue import load_catalogue
from synproxy.synapse.source import SynapseSource
from synproxy.synapse.version import Version
from tests.support.paths import ROOT
from tests.support.synapse_files import (
    ALL_KINDS,
    GENERIC,
    NEWER_STREAMS,
    STREAMS,
    SynapseFiles,
)

NEWEST = load_catalogue().newest
SEED = ROOT / "config" / "seed-parity.yaml"
SHIPPED = ROOT / "config" / "synapse-workers.yaml"

POOLS = """\
listeners: ["8008"]
pools:
  main: {servers: ["unix:/run/main.sock"]}
  client_reader: {servers: ["unix:/run/client_reader1.sock"]}
  event_creator: {servers: ["unix:/run/event_creator1.sock"]}
  federation_reader: {servers: ["unix:/run/federation_reader1.sock"]}
  media: {servers: ["unix:/run/media1.sock"]}
  normal_sync: {servers: ["unix:/run/sync1.sock"]}
  typing: {servers: ["unix:/run/typing1.sock"]}
  fred: {servers: ["unix:/run/fred.sock"]}
"""
MAIN = "  - {name: main, location: /, pool: main}\n"


def subject(text: str, version: Version = NEWEST, file: str = "synproxy.yaml") -> Subject:
    return Subject(loads(text, file), document.read(text, file), version)


def routes(*locations: str, pool: str = "client_reader", methods: str = "") -> str:
    """A configuration with these routes, and main for the rest."""
    extra = f", methods: [{methods}]" if methods else ""
    lines = [
        f"  - {{name: r{n}, location: '{location}', pool: {pool}{extra}}}\n"
        for n, location in enumerate(locations)
    ]
    return f"{POOLS}routes:\n{''.join(lines)}{MAIN}"


def findings(text: str, *rules: str, version: Version = NEWEST) -> list[Finding]:
    return [one for one in lint(subject(text, version)) if one.rule in rules]


def said(text: str, *rules: str, version: Version = NEWEST) -> list[str]:
    return [one.what for one in findings(text, *rules, version=version)]


# The documented nginx setup: every defect of synapse-routing.md 1.5


@pytest.fixture(scope="module")
def seed() -> list[Finding]:
    return lint(subject(read_text(SEED), file=str(SEED)))


def at_route(found: list[Finding], rule: str, name: str) -> Finding:
    """The finding of a rule at one route of the seed."""
    wanted = [one for one in found if one.rule == rule and f'route "{name}"' in one.what]
    assert len(wanted) == 1, [one.what for one in found]
    line = SEED.read_text().splitlines()[wanted[0].line - 1]
    assert line.lstrip().startswith("location: ")
    assert line[wanted[0].column - 1] == "'"
    return wanted[0]


def test_the_seed_sends_thirteen_admin_endpoints_to_the_media_worker(seed: list[Finding]) -> None:
    found = at_route(seed, "misrouted", "media_admin")
    assert found.severity is Severity.ERROR
    assert 'sends 13 endpoints to pool "media"' in found.what
    assert [example.partition(" /_synapse/admin/v1/")[2] for example in found.examples] == [
        "users/{user_id}/override_ratelimit",
        "users/{user_id}/shadow_ban",
        "user/redact_status/{redact_id}",
        "users/{user_id}/accountdata",
        "users/{user_id}/admin",
        "users/{user_id}/cumulative_joined_room_count",
        "users/{user_id}/joined_rooms",
        "users/{user_id}/memberships",
        "users/{user_id}/pushers",
        "users/{user_id}/sent_invite_count",
        "user/{user_id}/redact",
        "users/{user_id}/_allow_cross_signing_replacement_without_uia",
        "users/{user_id}/login",
    ]


def test_the_seed_takes_every_path_that_ends_in_media_away_from_the_public(
    seed: list[Finding],
) -> None:
    found = at_route(seed, "unanchored", "media_admin")
    assert found.severity is Severity.ERROR
    assert found.what.startswith('"media$" in route "media_admin" is not tied to the beginning')
    assert found.why == "whatever path has it anywhere goes to media, behind private"
    room = "/_matrix/client/v3/rooms/!abc:example.org"
    assert f"PUT {room}/state/m.room.message/media" in found.examples


def test_the_seed_misses_purge_media_cache(seed: list[Finding]) -> None:
    found = at_route(seed, "missing", "media_admin")
    assert found.severity is Severity.ERROR
    assert found.examples == ("POST /_synapse/admin/v1/purge_media_cache",)


def test_the_seed_misses_uploads_and_all_of_the_older_media_api(seed: list[Finding]) -> None:
    found = at_route(seed, "missing", "media")
    assert found.severity is Severity.ERROR
    assert set(found.examples) == {
        "POST /_matrix/media/(r0|v3|v1)/upload",
        "POST /_matrix/media/v1/create",
        "GET /_matrix/media/(r0|v3|v1)/config",
        "GET /_matrix/media/(r0|v3|v1)/preview_url",
        "GET /_matrix/media/(r0|v3|v1)/download/{server_name}/{media_id}(/{file_name})?",
        "GET /_matrix/media/(r0|v3|v1)/thumbnail/{server_name}/{media_id}",
    }


def test_the_seed_shows_nothing_for_what_is_left(seed: list[Finding]) -> None:
    found = next(one for one in seed if one.rule == "unrouted")
    assert found.severity is Severity.ERROR
    assert SEED.read_text().splitlines()[found.line - 1] == "routes:"
    assert "POST /_matrix/client/(api/v1|r0|v3|unstable)/logout" in found.examples


def test_the_seeds_keepalive_is_dead(seed: list[Finding]) -> None:
    found = next(one for one in seed if one.rule == "keepalive")
    assert SEED.read_text().splitlines()[found.line - 1].strip() == '"": close'


def test_nothing_else_is_found_in_the_seed(seed: list[Finding]) -> None:
    assert sorted((one.rule, one.severity.value) for one in seed) == [
        ("keepalive", "warning"),
        ("misrouted", "error"),
        ("missing", "error"),  # federation/v1/version
        ("missing", "error"),  # media
        ("missing", "error"),  # purge_media_cache
        ("missing", "error"),  # sliding sync
        ("missing", "error"),  # unstable/sync
        ("unanchored", "error"),
        ("unrouted", "error"),
    ]


def test_nothing_is_found_in_the_shipped_configuration() -> None:
    assert lint(subject(read_text(SHIPPED), file=str(SHIPPED))) == []


# What init writes


def bare(files: SynapseFiles) -> SynapseFiles:
    return files


def generic(files: SynapseFiles) -> SynapseFiles:
    return files.several(GENERIC).media("media1")


def everything(files: SynapseFiles) -> SynapseFiles:
    files.several(ALL_KINDS).several(GENERIC).media("media1", "media2")
    streams = [name for name in (*STREAMS, *NEWER_STREAMS) if name != "thread_subscriptions"]
    mas = {"matrix_authentication_service": {"enabled": True}}
    return files.writers(*streams).set(**mas)


Build = Callable[[SynapseFiles], SynapseFiles]


@pytest.mark.parametrize("build", [bare, generic, everything])
@pytest.mark.parametrize("version", [load_catalogue().oldest, NEWEST], ids=str)
@pytest.mark.parametrize("with_files", [False, True])
def test_no_error_is_found_in_what_init_writes(
    tmp_path: Path, build: Build, version: Version, with_files: bool
) -> None:
    if build is everything and version != NEWEST:  # its streams are newer
        version = Version(1, 136)
    source = SynapseSource(tuple(build(SynapseFiles(tmp_path)).write()), version)
    made = subject(source.text(), version)
    if with_files:
        made.deployment = source.deployment()
    found = lint(made)
    assert [one for one in found if one.severity is Severity.ERROR] == []
    if version == NEWEST:
        assert found == []


# Defects of other published tables (synapse-routing.md 1.5)


@pytest.mark.parametrize(
    ("pool", "location", "example"),
    [
        (  # Synapse's docker image, sytest
            "client_reader",
            "~ ^/_matrix/client/(r0|v3|unstable)/auth/.*/fallback/web$",
            r"GET, POST /_matrix/client/(r0|v3|unstable)/auth/{stagetype}/fallback/web",
        ),
        (  # mdad, specialised workers
            "event_creator",
            "~ ^/_matrix/client/(api/v1|r0|v3|unstable)/.*rooms/.*/report",
            "POST /_matrix/client/(r0|v3|unstable)/rooms/{room_id}/report/{event_id}",
        ),
        (
            "client_reader",
            "~ ^/_matrix/client/(api/v1|r0|v3|unstable)/directory/",
            "DELETE, PUT /_matrix/client/(api/v1|r0|v3|unstable)/directory/list/appservice/"
            "{network_id}/{room_id}",
        ),
        (  # tcpipuk, Envoy's unshipped one: a catch-all for federation
            "federation_reader",
            "~ ^/_matrix/(federation/(v1|v2)|key/v2)/",
            "GET /_matrix/federation/v1/openid/userinfo",
        ),
        (
            "typing",
            "~ ^/_matrix/client/v3/rooms/.*/(typing|upgrade)",
            "POST /_matrix/client/(r0|v3|unstable)/rooms/{room_id}/upgrade",
        ),
        (  # a stream that only its writer writes
            "client_reader",
            "~ ^/_matrix/client/v3/rooms/.*/typing/",
            "PUT /_matrix/client/(api/v1|r0|v3|unstable)/rooms/{room_id}/typing/{user_id}",
        ),
    ],
)
def test_endpoints_that_a_pool_does_not_have_are_named(
    pool: str, location: str, example: str
) -> None:
    found = findings(routes(location, pool=pool), "misrouted")
    assert [one.severity for one in found] == [Severity.ERROR]
    assert example in found[0].examples


@pytest.mark.parametrize(
    ("location", "hint"),
    [
        ("~ ^/_matrix/client/(api/v1|r0|v3|unstable)/pushrules/", "write methods: [GET]"),
        ("~ ^/_synapse/admin/v2/users/[^/]+$", "write methods: [GET]"),
    ],
)
def test_a_route_that_is_blind_for_methods_is_found(location: str, hint: str) -> None:
    found = findings(routes(location), "method-blind", "misrouted")
    assert [(one.rule, one.severity, one.hint) for one in found] == [
        ("method-blind", Severity.ERROR, hint)
    ]
    assert findings(routes(location, methods="GET"), "method-blind", "misrouted") == []


def test_delayed_events_need_their_methods_too() -> None:
    location = "~ ^/_matrix/client/unstable/org.matrix.msc4140/delayed_events"
    found = findings(routes(location, pool="event_creator"), "misrouted", "method-blind")
    examples = [example for one in found for example in one.examples]
    assert any("/cancel" in example for example in examples)


def test_a_regex_that_takes_more_than_the_catalogue_is_found_with_an_example() -> None:
    wide = routes("~ ^/_synapse/admin/v1/user/.*/media", pool="media")
    found = findings(wide, "over-wide")
    assert [one.severity for one in found] == [Severity.WARNING]
    assert "GET /_synapse/admin/v1/user/redact_status/media" in found[0].examples
    narrow = routes("~ ^/_synapse/admin/v1/user/@.*/media", pool="media")
    assert said(narrow, "over-wide") == []


def test_what_an_earlier_route_keeps_is_not_taken() -> None:
    guard = "  - {name: guard, location: '~ ^/_synapse/admin/v1/user/redact_status/', pool: main}\n"
    text = routes("~ ^/_synapse/admin/v1/user/.*/media", pool="media")
    assert said(text.replace("routes:\n", f"routes:\n{guard}"), "over-wide") == []


def test_endpoints_that_are_left_to_main_are_found() -> None:
    found = findings(routes("~ ^/_matrix/client/(r0|v3)/sync$", pool="normal_sync"), "missing")
    sync = [one for one in found if '"r0"' in one.what]
    assert all(one.severity is Severity.WARNING for one in sync)
    examples = [example for one in sync for example in one.examples]
    assert "GET /_matrix/client/(api/v1|r0|v3|unstable)/events" in examples
    assert "POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync" in examples


def test_what_is_missing_depends_on_the_version() -> None:
    text = routes("~ ^/_matrix/federation/v1/(send|event|state)/", pool="federation_reader")
    version = "GET /_matrix/federation/v1/version"
    new, old = (
        [e for one in findings(text, "missing", version=v) for e in one.examples]
        for v in (NEWEST, Version(1, 129))
    )
    assert version in new
    assert version not in old


def test_a_route_that_never_wins_is_found() -> None:
    location = "~ ^/_matrix/client/v3/rooms/![^/]+/members$"
    text = routes("~ ^/_matrix/client/v3/rooms/.*/members$", location)
    found = findings(text, "shadowed")
    assert [one.what for one in found] == ['route "r1" never wins: "r0" takes all its paths']
    assert text.splitlines()[found[0].line - 1].count(location) == 1


@pytest.mark.parametrize(
    ("locations", "winners"),
    [
        (("~ ^/a/(b|c)$", "~ ^/a/(c|d)$", "~ ^/a/[bcd]$"), '"r0", "r1"'),
        (("^~ /_matrix/", "~ ^/_matrix/client/v3/sync$"), '"r0"'),
        (("~ ^/_matrix", "/_matrix/client/"), '"r0"'),
        (("~* ^/_MATRIX/client/", "~ ^/_matrix/client/v3/sync$"), '"r0"'),
    ],
)
def test_shadows_follow_nginxs_order(locations: tuple[str, ...], winners: str) -> None:
    take = "take" if "," in winners else "takes"
    assert said(routes(*locations), "shadowed") == [
        f'route "r{len(locations) - 1}" never wins: {winners} {take} all its paths'
    ]


@pytest.mark.parametrize(
    "locations",
    [
        ("~ ^/a/(b|c)$", "~ ^/a/[bcd]$"),
        ("/_matrix/", "~ ^/_matrix/client/v3/sync$"),
        ("= /_matrix/client/v3/sync", "~ ^/_matrix/client/v3/sync"),
        ("^~ /_matrix/", "/_matrix/client/", "~ ^/_matrix/client/v3/sync$"),
        ("~ ^/_matrix/client/v3/sync$", "~ ^/_matrix/client/(?=v3)"),  # not understood
    ],
)
def test_a_route_that_wins_somewhere_is_left_alone(locations: tuple[str, ...]) -> None:
    assert said(routes(*locations), "shadowed") == []


def test_a_shadow_is_one_only_for_the_methods_that_it_has() -> None:
    first = "  - {name: first, location: '~ ^/a', pool: main, methods: [GET]}\n"
    text = routes("~ ^/ab").replace("routes:\n", f"routes:\n{first}")
    assert said(text, "shadowed") == []
    text = routes("~ ^/ab", methods="GET").replace("routes:\n", f"routes:\n{first}")
    assert said(text, "shadowed") == ['route "r0" never wins: "first" takes all its paths']


def test_a_route_for_nothing_is_found() -> None:
    typo = routes("~ ^/_matrix/client/(api/v1|r0|v3)/event$", pool="normal_sync")
    assert said(typo, "no-endpoint") == [f'Synapse {NEWEST} has nothing that route "r0" is for']
    assert said(routes("~ ^/_matrix/client/(api/v1|r0|v3)/events$"), "no-endpoint") == []
    gone = routes("~ ^/_matrix/client/r0/groups/")
    assert said(gone, "no-endpoint") == [f'Synapse {NEWEST} has nothing that route "r0" is for']
    sso = routes("~ ^/_synapse/client/(oidc|saml2)/")  # no enumeration had single sign-on
    assert said(sso, "no-endpoint") == []


def test_a_regex_that_can_be_slow_is_found_with_a_text_that_shows_it() -> None:
    found = lint(subject(routes("~ ^/([^/]+/?)*x$", "~ ^/_matrix/.*/a/.*/b$")))
    assert [(one.rule, one.what, one.severity) for one in found] == [
        ("backtracking", "this regex takes exponential time", Severity.ERROR),
        ("incomplete", "nothing else was looked at", Severity.WARNING),
        ("backtracking", "this regex takes quadratic time", Severity.WARNING),
    ]
    assert [len(one.examples) for one in found] == [1, 0, 1]
    assert "..." in found[0].examples[0]


def test_slow_regexes_are_found_in_maps_and_gzip_too() -> None:
    text = (
        f"{POOLS}http: {{gzip: {{disable: ['(a+)+$']}}}}\n"
        "maps: {m: {source: $http_user_agent, values: {'~(b|b)*c': x}}}\n"
        f"routes:\n{MAIN}"
    )
    found = findings(text, "backtracking")
    lines = text.splitlines()
    assert [lines[one.line - 1][one.column - 1 :][:8] for one in found] == ["'(a+)+$'", "'~(b|b)*"]


def test_a_regex_that_is_not_understood_is_said_to_be_so() -> None:
    found = findings(routes("~ ^/(?=x)y"), "backtracking")
    assert [one.what for one in found] == ["whether this regex can be slow is not known: ASSERT"]


@pytest.mark.parametrize(
    ("path", "severity"),
    [("replication", "error"), ("metrics", "error"), ("admin", "warning"), ("mas", "warning")],
)
def test_an_open_door_is_found(path: str, severity: str) -> None:
    found = findings(routes(f"~ ^/_synapse/{path}(/|$)", pool="main"), "open")
    assert [one.severity.value for one in found if '"r0"' in one.what] == [severity]


def test_a_door_with_an_allowlist_is_closed() -> None:
    closed = "{name: closed, location: '~ ^/_synapse/(admin|mas|replication|metrics)(/|$)', "
    text = f"{POOLS}allowlists: {{private: [deny: all]}}\nroutes:\n  - {closed}pool: main, "
    assert said(f"{text}allowlists: [private]}}\n{MAIN}", "open") == []
    assert len(said(f"{POOLS}routes:\n{MAIN}", "open")) == 4


def test_names_that_nothing_uses_are_found() -> None:
    text = f"{POOLS}allowlists: {{nobody: [deny: all]}}\nmaps: {{m: {{source: $uri}}}}\nroutes:\n"
    text += "  - {name: r, location: '~ ^/_matrix/client/versions$', pool: client_reader}\n"
    unused = {what.split('"')[1] for what in said(text + MAIN, "unused")}
    assert unused == {
        *("event_creator", "federation_reader", "media", "normal_sync", "typing", "fred"),
        *("nobody", "m"),
    }


def test_a_pool_is_used_by_those_that_fall_back_to_it() -> None:
    text = POOLS.replace(
        "client_reader: {", "client_reader: {fallback: fred, unrecognized: typing, "
    )
    text += "routes:\n  - {name: r, location: '~ ^/_matrix/', pool: client_reader}\n"
    unused = {what.split('"')[1] for what in said(text, "unused")}
    assert unused == {"main", "event_creator", "federation_reader", "media", "normal_sync"}


def test_a_pool_that_says_nothing_of_itself_is_not_judged() -> None:
    assert said(routes("~ ^/_matrix/", pool="fred"), "misrouted", "method-blind") == []


def test_synapses_files_say_what_names_do_not(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).worker("fred", "federation")
    deployment = SynapseSource(tuple(files.write())).deployment()
    text = routes("~ ^/_matrix/", pool="fred").replace(
        "unix:/run/fred.sock", "unix:/run/matrix-synapse/fred.sock"
    )
    made = subject(text)
    made.deployment = deployment
    found = [one for one in lint(made) if one.rule == "misrouted"]
    assert ["sends" in one.what and '"fred"' in one.what for one in found] == [True]


def test_what_is_answered_here_need_not_be_routed() -> None:
    text = f"{POOLS}routes: [{{name: r, location: /_matrix/, pool: main}}]\n"
    client = "GET /.well-known/matrix/client(/.*)?"
    assert client in findings(text, "unrouted")[0].examples
    text += "well_known: {client: {m.homeserver: {base_url: https://matrix.example.org}}}\n"
    assert client not in findings(text, "unrouted")[0].examples


def test_an_unknown_version_is_said_to_be_so() -> None:
    found = findings(routes(), "version", version=Version(1, 999))
    assert found[0].what.startswith("Synapse v1.999 is not known here")
    assert findings(routes(), "version") == []
