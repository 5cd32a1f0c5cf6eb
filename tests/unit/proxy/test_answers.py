"""Every answer of our own is one that a Matrix client in a browser can read."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from synproxy.proxy.answers import CORS, CORS_RENDEZVOUS, LocalAnswer, answer_for, cors_for

# https://spec.matrix.org/latest/client-server-api/#standard-error-response
ERRCODES = {
    400: "M_UNKNOWN",
    403: "M_FORBIDDEN",
    404: "M_UNRECOGNIZED",
    405: "M_UNRECOGNIZED",
    408: "M_UNKNOWN",
    413: "M_TOO_LARGE",
    429: "M_LIMIT_EXCEEDED",
    502: "M_UNKNOWN",
    503: "M_UNKNOWN",
    504: "M_UNKNOWN",
}


def sent(answer: LocalAnswer, *, head_request: bool = False) -> tuple[Mapping[str, str], bytes]:
    """The fields and the body of an answer on an HTTP/1.1 connection that lives on."""
    data, size = answer.render(
        server=b"Server: synproxy\r\n", minor=1, keep_alive=True, head_request=head_request
    )
    head, _, body = data.partition(b"\r\n\r\n")
    assert len(body) == size
    first, *lines = head.decode().split("\r\n")
    assert first.startswith(f"HTTP/1.1 {answer.status} ")
    fields = dict(line.split(": ", 1) for line in lines)
    assert len(fields) == len(lines)
    return fields, body


@pytest.mark.parametrize(("status", "errcode"), ERRCODES.items())
def test_an_error_is_matrix_json_with_synapses_cors(status: int, errcode: str) -> None:
    fields, body = sent(answer_for(status))
    assert json.loads(body).keys() == {"errcode", "error"}
    assert json.loads(body)["errcode"] == errcode
    assert fields["Content-Type"] == "application/json"
    assert fields["Content-Length"] == str(len(body))
    assert fields["Cache-Control"] == "no-cache, no-store, must-revalidate"
    assert fields["Access-Control-Allow-Origin"] == "*"
    assert fields["Access-Control-Expose-Headers"] == "Synapse-Trace-Id, Server"


def test_an_error_takes_other_words() -> None:
    _, body = sent(answer_for(403, "M_USER_DEACTIVATED", "Good bye"))
    assert json.loads(body) == {"errcode": "M_USER_DEACTIVATED", "error": "Good bye"}


@pytest.mark.parametrize(
    ("seconds", "field", "milliseconds"), [(5, "5", 5000), (0.25, "1", 250), (1.0001, "2", 1001)]
)
@pytest.mark.parametrize("status", [429, 503])
def test_when_to_come_again_is_said_in_both_forms(
    status: int, seconds: float, field: str, milliseconds: int
) -> None:
    fields, body = sent(answer_for(status, retry_after=seconds))
    assert fields["Retry-After"] == field
    assert json.loads(body)["retry_after_ms"] == milliseconds


def test_without_a_time_nothing_is_said_about_it() -> None:
    fields, body = sent(answer_for(429))
    assert "Retry-After" not in fields
    assert "retry_after_ms" not in json.loads(body)


def test_a_405_names_the_methods() -> None:
    assert sent(answer_for(405, allow=b"GET, HEAD"))[0]["Allow"] == "GET, HEAD"
    assert "POST" in sent(answer_for(405))[0]["Allow"]
    assert "Allow" not in sent(answer_for(404))[0]


def test_the_answer_to_head_has_the_length_of_the_one_to_get() -> None:
    fields, body = sent(answer_for(404), head_request=True)
    assert body == b""
    assert fields["Content-Length"] == str(len(answer_for(404).body))


def test_a_204_has_no_body_and_no_length() -> None:
    fields, body = sent(answer_for(204))
    assert body == b""
    assert fields.keys() == {
        "Server",
        "Date",
        "Access-Control-Allow-Origin",
        "Access-Control-Allow-Methods",
        "Access-Control-Allow-Headers",
        "Access-Control-Expose-Headers",
    }


@pytest.mark.parametrize(
    ("path", "rendezvous"),
    [
        (b"/_matrix/client/unstable/org.matrix.msc4108/rendezvous", True),
        (b"/_matrix/client/v1/org.matrix.msc4108/rendezvous", True),
        (b"/_synapse/client/rendezvous", True),
        (b"/_synapse/client/rendezvous/01HX9K00000000000000000000", True),
        (b"/_matrix/client/unstable/org.matrix.msc4108/rendezvous/x", False),
        (b"/_matrix/client/unstable/io.element.msc4388/rendezvous", False),
        (b"/_matrix/client/unstable/io.element.msc4388/rendezvous/x", False),
        (b"/_matrix/client/v3/sync", False),
        (b"/", False),
        (b"", False),
    ],
)
def test_the_rendezvous_of_a_qr_login_may_send_and_see_entity_tags(
    path: bytes, rendezvous: bool
) -> None:
    assert cors_for(path) == (CORS_RENDEZVOUS if rendezvous else CORS)


def test_the_rendezvous_fields_are_synapses() -> None:
    fields, _ = sent(answer_for(204, cors=CORS_RENDEZVOUS))
    assert fields["Access-Control-Allow-Headers"] == "Content-Type, If-Match, If-None-Match"
    assert fields["Access-Control-Expose-Headers"] == "Synapse-Trace-Id, Server, ETag"
