"""The catalogue says what Synapse's documentation says, and where it does not it says why."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
import yaml

from synproxy.errors import ConfigError
from synproxy.synapse.catalogue import Catalogue, load_catalogue, parse_catalogue
from synproxy.synapse.version import Version, parse_version
from tests.support.paths import SHARED

CATALOGUE = load_catalogue()
NEWEST = CATALOGUE.newest


@cache
def history() -> list[dict[str, Any]]:
    """What each version added to and removed from docs/workers.md, oldest first."""
    found: list[dict[str, Any]] = json.loads(
        (SHARED / "data/synapse-workers-md-history.json").read_text()
    )
    return found


def source_table() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(
        (SHARED / "data/synapse-endpoints.yaml").read_text()
    )["routes"]
    return found


def names(version: Version, *conditions: str) -> set[str]:
    groups = CATALOGUE.groups_at(version, set(conditions))
    return {endpoint.name for group in groups for endpoint in group.endpoints}


LATER = [entry for entry in history() if parse_version(entry["version"]) > CATALOGUE.oldest]


@pytest.mark.parametrize("entry", LATER, ids=[entry["version"] for entry in LATER])
def test_each_version_differs_from_the_one_before_as_its_documentation_does(
    entry: dict[str, Any],
) -> None:
    version = parse_version(entry["version"])
    before = CATALOGUE.documented_at(Version(version.major, version.minor - 1))
    after = CATALOGUE.documented_at(version)
    assert before - after == set(entry["removed"])
    assert after - before == set(entry["added"]) - before


def test_no_other_version_differs_from_the_one_before() -> None:
    changed = {parse_version(entry["version"]) for entry in LATER}
    for minor in range(CATALOGUE.oldest.minor + 1, NEWEST.minor + 1):
        version = Version(1, minor)
        if version not in changed:
            before = CATALOGUE.documented_at(Version(1, minor - 1))
            assert CATALOGUE.documented_at(version) == before, version


def test_what_the_documentation_had_in_the_oldest_version_is_known() -> None:
    documented: set[str] = set()
    for entry in history():
        if parse_version(entry["version"]) <= CATALOGUE.oldest:
            documented -= set(entry["removed"])
            documented |= set(entry["added"])
    assert len(documented) > 70
    assert documented - CATALOGUE.documented_at(CATALOGUE.oldest) == set()


def test_every_regex_of_the_source_table_is_accounted_for() -> None:
    known = {
        regex
        for group in CATALOGUE.groups
        for endpoint in group.endpoints
        for regex in (endpoint.path, endpoint.docs)
    }
    unknown = {row["regex"] for row in source_table()} - known
    assert unknown == {
        "^/health$",  # main answers it like any other path
        "^/_matrix/",  # main has what is left; there is no need to list it
        "^/_synapse/client/",
        r"^/\.well-known/matrix/(client|server|support)$",
        # Written otherwise here:
        "^/_synapse/admin(/|$)",  # these two are the endpoint "admin"
        "^/_synapse/(replication|metrics)",
        "^/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device$",  # one endpoint
        "^/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/[^/]*/events$",
        # "[^/]*" for the first ".*", which would take quadratic time
        "^/_matrix/client/unstable/io.element.msc4306/rooms/.*/thread/.*/subscription$",
    }


def test_the_facts_of_the_source_table_are_kept() -> None:
    """Pool, methods, access and number of instances, wherever a regex is the same."""
    kinds = {"sync|initial_sync": "normal_sync", "sync": "normal_sync"}
    found = {
        (regex, group.kind): (group, endpoint)
        for group in CATALOGUE.groups_at(NEWEST)
        for endpoint in group.endpoints
        for regex in (endpoint.path, endpoint.docs)
    }
    compared = 0
    for row in source_table():
        first = row["pool"].split(" ")[0].split("|")[0]
        kind = kinds.get(row["pool"], {"sliding_sync|sync": "sliding_sync"}.get(row["pool"], first))
        if (row["regex"], kind) not in found:
            continue
        group, endpoint = found[row["regex"], kind]
        compared += 1
        methods = () if row["methods"] == "*" else tuple(m for m in row["methods"] if m != "HEAD")
        assert endpoint.methods == methods, row["regex"]
        assert group.private == (row.get("acl") == "admin"), row["regex"]
        if "single_instance" in row and group.kind != "main":
            assert CATALOGUE.kinds[group.kind].single == row["single_instance"], row["regex"]
    assert compared > 130


def test_a_version_has_its_own_endpoints() -> None:
    assert "federation_version" not in names(parse_version("1.129"))
    assert "federation_version" in names(parse_version("v1.130.0"))
    assert "summary_msc3266" not in names(parse_version("1.106.0"))


def test_versions_beyond_what_is_known_are_taken_for_the_nearest_known_one() -> None:
    assert names(Version(1, 20)) == names(CATALOGUE.oldest)
    assert names(Version(2, 0)) == names(NEWEST)


def test_conditions_choose_endpoints() -> None:
    assert {"login", "register"} <= names(NEWEST)
    assert names(NEWEST, "mas") & {"login", "register", "mas_compat"} == {"register", "mas_compat"}
    assert "typing" not in names(NEWEST)
    assert "typing" in names(NEWEST, "writer: typing")
    assert "pushrules_read" in names(NEWEST)
    assert "pushrules_read" not in names(NEWEST, "writer: push_rules")
    assert "sso_saml2" not in names(NEWEST, "sso", "oidc")
    assert "sso_oidc" in names(NEWEST, "sso", "oidc")
    assert "sso_oidc" not in names(NEWEST, "sso", "oidc", "mas")


def test_what_must_not_have_two_processes_is_marked() -> None:
    single = {name for name, kind in CATALOGUE.kinds.items() if kind.single}
    assert single == {"sso", "typing", "push_rules", "to_device", "account_data", "presence"}


def test_everything_that_administers_is_private() -> None:
    for group in CATALOGUE.groups:
        for endpoint in group.endpoints:
            inner = endpoint.path.startswith(("^/_synapse/admin", "^/_synapse/(", "^/metrics"))
            assert group.private == (inner or endpoint.name == "mas_synapse"), endpoint.name


SMALL = """
oldest: v1.98
verified: [v1.157, v1.163]
kinds: {main: {}, reader: {resource: client}, sender: {resource: federation}}
groups:
  - name: one
    title: One
    kind: reader
    endpoints: [{name: a, path: '^/a$'}]
"""


@pytest.mark.parametrize(
    ("before", "after", "mistake"),
    [
        ("v1.157, v1.163", "v1.163, v1.157", "the versions do not ascend"),
        ("kind: reader", "kind: writer", "group one: there is no kind writer"),
        ("kind: reader", "kind: reader\n    without_since: x", "group one: there is no kind x"),
        ("{resource: client}", "{else: [x]}", "kind reader: there is no kind x"),
        (
            "{resource: client}",
            "{resource: client, else: [sender]}",
            "kind reader: sender needs another listener",
        ),
        ("'^/a$'", "'/a$'", "one.a: the regex is not anchored"),
        ("'^/a$'", "'^/(a$'", "one.a: bad regex"),
        ("name: a", "name: A", "one.A: a name has small letters"),
        ("'^/a$'", "'^/a$', methods: [GET, LOOK]", "one.a: GET, LOOK are not all methods"),
        ("'^/a$'", "'^/a$', since: v1.100, until: v1.99", "one.a: it ends before it begins"),
        ("'^/a$'", "'^/a$', when: [sos]", "one.a: there is no condition 'sos'"),
        ("'^/a$'", "'^/a$', when: ['writer: x']", "one.a: there is no stream x"),
        ("'^/a$'}", "'^/a$'}, {name: a, path: '^/b$'}", "endpoint a: two may exist"),
        ("'^/a$'", "'^/a$', sinc: v1.100", "Extra inputs are not permitted"),
        ("'^/a$'", "'^/a$', since: hello", "expected a version such as v1.163"),
        ("'^/a$'", "'^/a$', since: 1.130", "expected a version in the form v1.163"),
    ],
)
def test_a_mistake_in_the_data_is_found(before: str, after: str, mistake: str) -> None:
    assert isinstance(parse_catalogue(SMALL), Catalogue)
    assert before in SMALL
    with pytest.raises(ValueError, match=mistake):
        parse_catalogue(SMALL.replace(before, after))


def test_yamls_traps_are_found_too() -> None:
    with pytest.raises(ConfigError, match="twice"):
        parse_catalogue(SMALL + "oldest: v1.99\n")


def test_a_name_may_come_again_where_the_old_one_has_ended_or_cannot_hold() -> None:
    one = "{name: a, path: '^/a$'}"
    for pair in (
        "{name: a, path: '^/a$', until: v1.99}, {name: a, path: '^/b$', since: v1.99}",
        "{name: a, path: '^/a$', when: [mas]}, {name: a, path: '^/b$', when: [not mas]}",
    ):
        parse_catalogue(SMALL.replace(one, pair))


@pytest.mark.parametrize(
    "text", ["1.163", "v1.163", "v1.163.2", "1.163.0rc1", " 1.163.2 (b=develop)\n"]
)
def test_a_version_is_read_in_all_its_spellings(text: str) -> None:
    assert parse_version(text) == Version(1, 163)
    assert str(parse_version(text)) == "v1.163"


@pytest.mark.parametrize("text", ["", "1", "v1", "1.x", "one", "1:2", "99999.1"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a version such as"):
        parse_version(text)
