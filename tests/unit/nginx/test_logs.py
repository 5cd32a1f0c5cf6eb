"""What becomes of ``access_log`` and ``log_format``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.nginx.nginx_files import PASS, as_tree, imported, told

CASES = [
    ("", "", {"path": "-", "format": "combined"}),
    ("access_log off;", "", "off"),
    ("access_log /x;", "", {"path": "/x", "format": "combined"}),
    ("access_log /var/log/nginx/a.log;", "", {"path": "/var/log/synproxy/a.log"}),
    ("access_log /x combined buffer=32k flush=5s;", "", {"flush": "5s"}),
    ("access_log /x m;", "log_format m '$host ' '$status';", {"format": "$host $status"}),
    ("access_log /x m;", "log_format m '$Host${status}x';", {"format": "$host${status}x"}),
    ("access_log /x m;", "log_format m escape=json '\"$host\"';", {"escape": "json"}),
    ("access_log /x m;", "log_format m '$server_name $host'", {"format": "a.example $host"}),
    ("set $who me; access_log /x m;", "log_format m '$who $host'", {"format": "me $host"}),
]


@pytest.mark.parametrize(("server", "http", "section"), CASES)
def test_a_log_is_carried_over(tmp_path: Path, server: str, http: str, section: Any) -> None:
    http = http.rstrip(";") + ";" if http else ""
    result = imported(tmp_path, f"server_name a.example b.example; {server} {PASS}", http)
    found = as_tree(result)["access_log"]
    assert not result.findings
    assert found == section if isinstance(section, str) else found | section == found


TOLD = [
    ("log_format m '$http_host|$host|$pipe';", "-|$host|-", "$http_host, $pipe: not logged here"),
    ("log_format m escape=json '\"$pipe\"$host';", '""$host', "always empty"),
    ("log_format m escape=none '$host';", "$host", "escape=default"),
    ("log_format m '$host\n  $status';", "$host $status", "one line"),
    ("log_format m '$pipe';", "combined_upstream", "none of its variables"),
    ("log_format m '$host $ x';", "combined_upstream", "combined_upstream"),
]


@pytest.mark.parametrize(("http", "text", "meaning"), TOLD)
def test_what_a_format_loses_is_told_where_it_stands(
    tmp_path: Path, http: str, text: str, meaning: str
) -> None:
    result = imported(tmp_path, f"access_log /x m; {PASS}", http)
    assert as_tree(result)["access_log"]["format"] == text
    (finding,) = result.findings
    assert (finding.directive.name, finding.directive.line) == ("log_format", 5)
    assert meaning in finding.meaning


def test_a_variable_that_a_location_sets_is_no_constant(tmp_path: Path) -> None:
    location = "location / { set $who you; proxy_pass http://one; }"
    server = f"set $who me; access_log /x m; {location}"
    result = imported(tmp_path, server, "log_format m '$host $who';")
    assert as_tree(result)["access_log"]["format"] == "$host -"
    assert "$who: not logged here" in result.findings[0].meaning


def test_a_log_beside_the_first_and_one_of_a_location_are_told(tmp_path: Path) -> None:
    server = "access_log /x;\naccess_log /y;\n"
    location = "location / { access_log off; proxy_pass http://one; }"
    result = imported(tmp_path, server + location)
    assert as_tree(result)["access_log"]["path"] == "/x"
    assert told(result) == [
        (9, "access_log", "not carried over"),
        (10, "access_log", "differs"),
    ]
