"""The reference says all that the model says, in the words of the file."""

from __future__ import annotations

import re

import pytest

from synproxy.config import manual, model

TEXT = manual.text()


def entry(section: str, field: str) -> str:
    """The facts about a field."""
    part = TEXT.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    found = re.search(rf"^`{field}`\n: \*(.*)\*$", part, re.MULTILINE)
    assert found is not None
    return found[1]


def test_every_field_of_every_section_has_an_entry() -> None:
    fields = sum(
        len(section.model_fields)
        for section in vars(model).values()
        if isinstance(section, type)
        and issubclass(section, model.Section)
        and section is not model.Section
    )
    assert len(re.findall(r"^: \*.*\*$", TEXT, re.MULTILINE)) == fields


@pytest.mark.parametrize(
    ("section", "field", "facts"),
    [
        ("http", "send_timeout", "duration; default `1m`; nginx `send_timeout`"),
        ("http", "client_max_body_size", "size; default `1m`; nginx `client_max_body_size`"),
        ("http", "max_header_count", "number; default `100`"),
        ("http.gzip", "comp_level", "number; default `1`"),
        ("proxy", "read_timeout", "duration; default `1h`; nginx `proxy_read_timeout`"),
        ("routes[].proxy", "read_timeout", "duration; nginx `proxy_read_timeout`"),
        (
            "pools.NAME",
            "balance",
            "`round_robin` or `least_conn` or [section](#poolsnamebalance); default `round_robin`",
        ),
        ("pools.NAME.servers[]", "address", "text; required"),
        ("listeners[].tls", "session_tickets", "on or off; default `on`"),
    ],
)
def test_an_entry_says_kind_default_and_directive(section: str, field: str, facts: str) -> None:
    assert entry(section, field) == facts


def test_a_default_that_is_a_table_is_written_out() -> None:
    assert '`Accept-Encoding: ""`, `Host: $host`' in TEXT


def test_nothing_of_python_is_left_in_the_text() -> None:
    assert not re.search(r"\bNone\b|\bTrue\b|\bFalse\b|typing\.|:meth:|:class:", TEXT)
