"""Whatever a file holds, the loader answers with a configuration or with a ConfigError."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from synproxy.config.loader import loads
from synproxy.config.model import Config
from synproxy.errors import ConfigError

SHIPPED = Path(__file__).parents[3] / "config" / "synapse-workers.yaml"
TREE: dict[str, Any] = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))

SECTIONS = ["listeners", "http", "proxy", "allowlists", "maps", "pools", "routes", "access_log"]
FIELDS = [
    *("listen", "mode", "gzip", "types", "set_header", "rules", "allow", "source", "values"),
    *("default", "servers", "address", "balance", "hash", "name", "location", "pool", "respond"),
    *("status", "methods", "proxy", "next_upstream", "large_client_header_buffers", "<hash>"),
]
WORDS = [
    *("on", "NO", "0660", "1:30", "2s", "4 16k", "$sync", "$", "${x", "all", "default"),
    *("~ (", "~(", "~* ^/(?<a>b)", "^~", "= /x", "unix:/x", "unix:", "[::1]:1", ":"),
    *("1.2.3.4/8", "::/129"),
]

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(WORDS), st.text()
)
keys = st.one_of(st.sampled_from(SECTIONS + FIELDS + WORDS), st.text(max_size=5), st.integers())
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=20,
)


def outcome(text: str) -> Config | ConfigError:
    """Either of the two; anything else that is raised fails the test."""
    try:
        return loads(text, "file.yaml")
    except ConfigError as error:
        return error


def assert_places_exist(error: ConfigError, text: str) -> None:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert error.problems
    for problem in error.problems:
        assert 1 <= problem.line <= len(lines)
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
    keys = [(problem.line, problem.column) for problem in error.problems]
    assert keys == sorted(keys)
    assert len(set(error.problems)) == len(error.problems)


@given(st.one_of(st.text(), st.text(alphabet="a:-[]{}&*!|>'\"%@`#,?\n\t 01~<$", max_size=60)))
def test_any_text_is_a_configuration_or_a_config_error(text: str) -> None:
    result = outcome(text)
    if isinstance(result, ConfigError):
        assert_places_exist(result, text)


@given(st.dictionaries(st.sampled_from(SECTIONS), trees, max_size=6))
def test_any_tree_is_a_configuration_or_a_config_error(tree: dict[str, Any]) -> None:
    text = yaml.safe_dump(tree, allow_unicode=True)
    result = outcome(text)
    if isinstance(result, ConfigError):
        assert_places_exist(result, text)


def positions(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a tree."""
    inner = list(value.items() if isinstance(value, dict) else enumerate(value))
    found = [(value, key) for key, _ in inner]
    for _, item in inner:
        if isinstance(item, dict | list):
            found += positions(item)
    return found


@settings(max_examples=60)
@given(st.data())
def test_a_shipped_file_with_a_value_replaced_is_judged(data: st.DataObject) -> None:
    tree = yaml.safe_load(yaml.safe_dump(TREE))
    container, key = data.draw(st.sampled_from(positions(tree)))
    container[key] = data.draw(trees)
    text = yaml.safe_dump(tree, allow_unicode=True)
    result = outcome(text)
    if isinstance(result, ConfigError):
        assert_places_exist(result, text)
