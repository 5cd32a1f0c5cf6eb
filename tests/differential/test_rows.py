"""docs/nginx-differences.md can be believed: each row names tests that exist."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.differential.differences import Row, listed
from tests.support.nginx import nginx_version


def functions(file: Path) -> set[str]:
    """The tests of a file."""
    tree = ast.parse(file.read_text())
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in tree.body if isinstance(node, kinds)}


@pytest.mark.parametrize("row", listed().values(), ids=lambda row: row.id)
def test_a_row_names_tests_that_exist(row: Row) -> None:
    for file, function in row.tests:
        assert function in functions(file)


def test_the_rows_are_about_the_nginx_that_is_here() -> None:
    assert nginx_version().startswith("1.22."), "the column says nginx 1.22: measure anew"
