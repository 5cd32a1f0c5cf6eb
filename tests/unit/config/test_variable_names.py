"""Templates are cut at nginx's variable names."""

from __future__ import annotations

import pytest

from synproxy.config.variable_names import is_builtin, template_parts, variable_names_in


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("close", [("close", False)]),
        ("$host", [("host", True)]),
        ("${host}", [("host", True)]),
        ("$scheme://$host:1", [("scheme", True), ("://", False), ("host", True), (":1", False)]),
        ("${arg_a}b", [("arg_a", True), ("b", False)]),
        ("$a$b", [("a", True), ("b", True)]),
        ("$host-x", [("host", True), ("-x", False)]),
        ("$hosté", [("host", True), ("é", False)]),
    ],
)
def test_a_template_is_cut_into_text_and_names(text: str, parts: list[tuple[str, bool]]) -> None:
    assert template_parts(text) == parts
    assert variable_names_in(text) == [part for part, is_name in parts if is_name]


@pytest.mark.parametrize("text", ["$", "a$", "$ host", "${}", "${host", "$-", "$$host", "$é"])
def test_a_dollar_sign_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match='expected a variable name after "\\$"'):
        template_parts(text)


@pytest.mark.parametrize("name", ["host", "uri", "arg_since", "http_upgrade", "cookie_a"])
def test_a_builtin_variable_is_known(name: str) -> None:
    assert is_builtin(name)


@pytest.mark.parametrize("name", ["", "Host", "arg_", "http_", "remote_user", "msec", "1", "sync"])
def test_any_other_name_is_not_builtin(name: str) -> None:
    assert not is_builtin(name)
