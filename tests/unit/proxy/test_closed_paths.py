"""What administers Synapse is closed to strangers, however its path is written.

Judged on the shipped configuration, against Twisted's own rule: a request reaches the resource tree
of its percent-decoded segments, and dots and empty segments mean nothing
(twisted.web.server.Request.process, twisted.web.resource.getChildForRequest).
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synproxy.config.loader import load
from synproxy.core.target import normalise_path
from synproxy.core.wheel import TimerWheel
from synproxy.errors import DownstreamError
from synproxy.proxy.generation import Generation
from tests.support.paths import ROOT

SHIPPED = Generation(load(ROOT / "config" / "synapse-workers.yaml"), TimerWheel(0.0))
STRANGER = b"203.0.113.7"
FRIEND = b"12.23.45.78"
METHODS = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"BREW"]
CLOSED = {b"admin", b"mas", b"replication", b"metrics"}


def verdict(raw_path: bytes, method: bytes = b"GET", address: bytes = STRANGER) -> int:
    """0 if the request goes on, else the status of the refusal."""
    try:
        decision = SHIPPED.decide(raw_path, method)
    except DownstreamError as error:
        return error.status
    return 0 if all(access.permits(address) for access in decision.accesses) else 403


def is_closed(segments: list[bytes]) -> bool:
    first, second = [*segments, b""][:2]
    return (first == b"_synapse" and second in CLOSED) or first == b"metrics"


def twisted(raw_path: bytes) -> list[bytes]:
    """The segments by which Twisted walks through Synapse's resources."""
    return [unquote_to_bytes(segment) for segment in raw_path[1:].split(b"/")]


@pytest.mark.parametrize(
    "path",
    [
        b"/_synapse/admin/v1/users",
        b"/_synapse/admin",
        b"/_synapse/admin/",
        b"/_synapse/admin/v1/media/example.org/abc",
        b"/_synapse/mas/query_user",
        b"/_synapse/replication/fed_send_events/x",
        b"/_synapse/metrics",
        b"/metrics",
        b"/metrics/",
        # another way to write a letter, a slash or the whole word
        b"/_synapse/%61dmin/v1/users",
        b"/_synapse/%61%64%6d%69%6e/v1/users",
        b"/%5Fsynapse/%6Das/query_user",
        b"/%5fsynapse/admin/v1/users",
        b"/_synapse%2Fadmin/v1/users",
        b"/_synapse%2fadmin%2fv1%2fusers",
        b"/%6detrics",
        # empty segments and dots
        b"//_synapse/admin/v1/users",
        b"/_synapse//admin/v1/users",
        b"/_synapse/admin//v1/users",
        b"/./_synapse/admin/v1/users",
        b"/_synapse/./admin/v1/users",
        b"/_synapse/%2e/admin/v1/users",
        b"/_synapse/admin/.",
        b"/_synapse/admin/..",
        b"/_synapse/admin/%2e%2e",
        b"/_synapse/admin/../admin/v1/users",
        b"/_synapse/client/../admin/v1/users",
        b"/_matrix/client/../../_synapse/admin/v1/users",
        b"/_matrix/%2e%2e/_synapse/admin/v1/users",
        b"/_matrix/..%2F_synapse/admin/v1/users",
        # in Synapse's eyes the admin API, in nginx's something else
        b"/_synapse/admin/../../_matrix/client/versions",
        b"/_synapse/admin/..%2F..%2F_matrix/client/versions",
        b"/_synapse/admin/%2e%2e/client/x",
        b"/_synapse/mas/../client/x",
        b"/metrics/../_matrix/client/versions",
        b"/metrics/..%2f_matrix/client/versions",
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_every_way_to_write_a_closed_path_is_closed(path: bytes, method: bytes) -> None:
    for _ in range(2):  # decided, then remembered
        assert verdict(path, method) == 403
        assert verdict(path, method, FRIEND) == 0


@pytest.mark.parametrize(
    "path",
    [
        # no resource of Synapse: it tells case apart, and a dot, a space or ";x" is a letter
        b"/_Synapse/admin/v1/users",
        b"/_synapse/Admin/v1/users",
        b"/_SYNAPSE/ADMIN/v1/users",
        b"/_synapse/admin./v1/users",
        b"/_synapse/admin%20/v1/users",
        b"/_synapse/admin;x/v1/users",
        b"/_synapse;x/admin/v1/users",
        b"/_synapse/...admin/v1/users",
        b"/_synapse/administrator",
        b"/_synapse/%2561dmin/v1/users",
        b"/_synapse%252Fadmin/v1/users",
        b"/metricsx",
        b"/Metrics",
        # ordinary requests
        b"/_synapse/client/pick_idp",
        b"/_matrix/client/v3/sync",
        b"/_matrix/client/v3/rooms/%21a%3Aexample.org/state/x/_synapse%2Fadmin%2Fx",
        b"/_matrix/client/v3/directory/room/%23..%2F_synapse%2Fadmin%3Aexample.org",
        b"/_matrix/media/v3/download/example.org/abc/..metrics",
        b"/_matrix/client/v1/media/download/example.org/abc/%2Fmetrics",
    ],
)
def test_what_synapse_takes_for_something_else_stays_open(path: bytes) -> None:
    assert not is_closed(twisted(path))
    assert verdict(path) == 0


@pytest.mark.parametrize("path", [b"/_synapse/admin%00/x", b"/_synapse/%zz", b"/../_synapse/admin"])
def test_what_nobody_should_write_is_refused(path: bytes) -> None:
    assert verdict(path) == 400


PIECES = [
    *(b"/_synapse", b"/%5Fsynapse", b"/_Synapse", b"/_synapse%2F", b"/metrics", b"/%6detrics"),
    *(b"/admin", b"/%61dmin", b"/mas", b"/ma%73", b"/replication", b"/admin.", b"/ADMIN"),
    *(b"/v1", b"/media", b"/client", b"/_matrix", b"/rooms/%21a%3Ab", b"/x"),
    *(b"/", b"//", b"/.", b"/..", b"/%2e", b"/%2E%2e", b"%2F", b"%2f..", b"..%2F", b"%25", b"%"),
]
RAW_PATHS = st.lists(st.sampled_from(PIECES), max_size=8).map(lambda parts: b"/" + b"".join(parts))


@given(RAW_PATHS, st.sampled_from(METHODS))
@example(b"/_synapse/admin/..%2F..%2F_matrix/x", b"OPTIONS")
@example(b"/metrics/%2e%2e/_matrix/x", b"OPTIONS")
def test_no_stranger_reaches_what_twisted_or_nginx_take_for_closed(
    raw_path: bytes, method: bytes
) -> None:
    found = verdict(raw_path, method)
    if is_closed(twisted(raw_path)):
        assert found in (400, 403)
    if found != 400 and is_closed(normalise_path(raw_path)[1:].split(b"/")):
        assert found == 403
