"""Editors accept what the loader accepts, and the shipped schema is the model's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from synproxy.config import model
from synproxy.config.schema import schema, text
from synproxy.config.units import parse_duration, parse_size

ROOT = Path(__file__).parents[3]
CASES = Path(__file__).parent / "cases"
VALIDATOR = Draft202012Validator(schema())


def part(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": schema()["$defs"]})


DURATION, SIZE = part("duration"), part("size")


def test_the_shipped_schema_is_generated_from_the_model() -> None:
    shipped = ROOT / "synproxy" / "config" / "synproxy.schema.json"
    assert shipped.read_text(encoding="utf-8") == text(), "run python -m synproxy.config.schema"


def test_the_schema_is_a_valid_schema() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize(
    "path",
    [
        ROOT / "config" / "synapse-workers.yaml",
        ROOT / "config" / "seed-parity.yaml",
        CASES / "good_short_forms.yaml",
    ],
    ids=lambda path: path.name,
)
def test_a_good_file_is_valid_for_editors(path: Path) -> None:
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert [error.message for error in VALIDATOR.iter_errors(tree)] == []


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"listeners": []},
        {"listeners": [8008], "nonsense": 1},
        {"listeners": [{"lisen": "8008"}]},
        {"listeners": [8008], "shutdown_timeout": "1 fortnight"},
        {"listeners": [8008], "http": {"client_max_body_size": "1x"}},
        {"listeners": [8008], "http": {"gzip": {"comp_level": 10}}},
        {"listeners": [8008], "http": {"large_client_header_buffers": "4x16k"}},
        {"listeners": [8008], "proxy": {"next_upstream": ["http_500"]}},
        {"listeners": [8008], "proxy": {"read_timeout": None}},
        {"listeners": [8008], "pools": {"a": {"servers": []}}},
        {"listeners": [8008], "pools": {"a": {"servers": ["unix:/x"], "balance": "random"}}},
        {"listeners": [8008], "pools": {"a": {"servers": ["unix:/x"], "health_check": "no"}}},
        {"listeners": [8008], "pools": {"a": {"servers": ["unix:/x"], "queue": 0}}},
        {"listeners": [8008], "maintenance": "on"},
        {"listeners": [8008], "allowlists": {"a": [{"allow": "all", "deny": "all"}]}},
        {"listeners": [8008], "routes": [{"name": "a", "location": "/"}]},
    ],
)
def test_a_bad_tree_is_marked_by_editors(tree: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(tree)


def test_every_field_is_described() -> None:
    missing = [
        f"{name}.{field}"
        for name in (
            *("Config", "Listener", "Http", "Gzip", "ProxySettings", "Map", "Route", "Respond"),
            *("HealthCheck", "Queue", "Maintenance", "Synapse", "WellKnown"),
        )
        for field, info in getattr(model, name).model_fields.items()
        if not info.description
    ]
    assert missing == []


def accepted(parse: Callable[[object], float], value: str | int) -> bool | None:
    """Whether the loader reads ``value``; None where only its amount is too large."""
    try:
        parse(value)
    except ValueError as error:
        return None if "at most" in str(error) else False
    return True


@given(st.one_of(st.text(alphabet="0123456789yMwdhms ", max_size=12), st.integers(-9, 99)))
def test_editors_know_a_duration(value: str | int) -> None:
    assert accepted(parse_duration, value) in (DURATION.is_valid(value), None)


@given(st.one_of(st.text(alphabet="0123456789kKmMgGt", max_size=12), st.integers(-9, 99)))
def test_editors_know_a_size(value: str | int) -> None:
    assert accepted(parse_size, value) in (SIZE.is_valid(value), None)
