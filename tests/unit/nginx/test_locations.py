"""Locations in locations find the same requests when they stand side by side.

What is expected is nginx's: tests/differential/test_import_others.py asks the real one.
"""

from __future__ import annotations

import pytest

from tests.unit.nginx.nginx_files import Routed, imported

NESTED = """
    location = /exact { return 201; }
    location /a {
        location = /a/exact { return 202; }
        location /a/b { return 203; location ~ x$ { return 204; } }
        location ^~ /a/c { return 205; }
        location ~ y$ { return 206; }
        return 207;
    }
    location /a/deeper { return 208; }
    location ^~ /f {
        location /f/g { return 209; }
        location ~* Y$ { return 210; }
        return 211;
    }
    location ^~ /p { location /p/q { return 212; } return 213; }
    location ~ ^/r/ { location ~ z$ { return 214; } return 216; }
    location ~ [xyz]$ { return 217; }
    location / { return 218; }
"""
FOUND = [
    *(("/exact", 201), ("/a/exact", 202), ("/a/exact/", 207), ("/a/bx", 204), ("/a/b", 203)),
    *(("/a/by", 206), ("/a/bz", 217), ("/a/cx", 217), ("/a/cy", 217), ("/a/c", 205)),
    *(("/ay", 206), ("/ax", 217), ("/a", 207), ("/a/deeper/y", 217), ("/a/deeper", 208)),
    *(("/f/gy", 210), ("/f/gx", 209), ("/fy", 210), ("/fx", 211), ("/p/qx", 212), ("/px", 213)),
    *(("/r/z", 214), ("/r/x", 216), ("/x", 217), ("/q", 218)),
]


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Routed:
    return Routed(imported(tmp_path_factory.mktemp("nginx"), NESTED))


@pytest.mark.parametrize(("path", "status"), FOUND)
def test_a_request_finds_its_location(routed: Routed, path: str, status: int) -> None:
    assert routed(path) == str(status)
