"""What the state machine has found, played by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fuzz.machine import plain_answer
from tests.fuzz.messages import Reply, filling, reply_to
from tests.fuzz.scene import Scene, ServerSide, Settings


@pytest.fixture
def scene() -> Iterator[Scene]:
    play = Scene(Settings())
    yield play
    if not play.failed:
        play.finish(plain_answer)
    play.close()


GET: dict[str, Any] = {
    "method": b"GET",
    "minor": 1,
    "framing": "none",
    "body": b"",
    "sizes": [1],
}


def _reply(server: ServerSide, **reply: Any) -> Reply:
    assert server.current is not None
    plain: dict[str, Any] = {
        "status": 200,
        "framing": "length",
        "size": 10,
        "sizes": [10],
        "keeps": True,
        "interim": 0,
        "broken": False,
    }
    return reply_to(server.current, **{**plain, **reply})


def test_a_request_that_is_broken_at_once_leaves_nothing_in_the_wheel(scene: Scene) -> None:
    """Its connection was given up before the task that makes it had begun, and was watched for
    ever: whoever sends such requests could fill the memory."""
    client = scene.connect()
    body = filling(b"x", 5)
    broken = {"method": b"PUT", "framing": "chunked", "body": body, "broken": True}
    scene.ask(client, **{**GET, **broken})
    scene.send(client, 1000)
    assert client.answers[0].status == 400
    scene.pass_time(30)
    assert len(scene.simulation.wheel) == 0


def test_a_head_that_is_refused_is_answered_without_a_body_if_it_asks_for_none(
    scene: Scene,
) -> None:
    """A HEAD with a transfer coding in HTTP/1.0."""
    client = scene.connect()
    scene.ask(client, **{**GET, "method": b"HEAD", "minor": 0, "framing": "chunked"})
    scene.send(client, 1000)
    assert client.wire.taken.endswith(b"\r\n\r\n")


def test_an_empty_beginning_is_not_the_whole_answer_for_http_1_0(scene: Scene) -> None:
    """Its body ends with the connection: that must not end well when the server dies before the
    first byte of the body."""
    client = scene.connect()
    scene.ask(client, **{**GET, "minor": 0})
    scene.send(client, 1000)
    scene.accept(scene.knocks[0])
    server = scene.servers[0]
    reply = _reply(server, framing="chunked")
    scene.reply(server, reply)
    scene.emit(server, len(reply.head))
    scene.end(server)
    assert client.wire.aborted


def test_an_http_1_0_client_that_half_closes_does_not_get_a_part_as_the_whole(
    scene: Scene,
) -> None:
    """Its answer is given up, as with nginx, but must not look as if it had ended."""
    client = scene.connect()
    scene.ask(client, **{**GET, "minor": 0})
    scene.send(client, 1000)
    scene.accept(scene.knocks[0])
    server = scene.servers[0]
    reply = _reply(server, framing="close")
    scene.reply(server, reply)
    scene.emit(server, len(reply.raw) - 1)
    scene.half_close(client)
    assert client.wire.aborted
