"""The control channel: questions both ways, and what happens when there is no answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from synproxy.runtime.control import MESSAGE_LIMIT, Control, ControlError, ask_all

Pair = tuple[Control, Control]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    one, other = socket.socketpair()
    controls = await Control.over(one), await Control.over(other)
    yield controls
    for control in controls:
        control.close()


async def test_either_side_asks_what_the_other_registered(pair: Pair) -> None:
    supervisor, child = pair
    child.register("double", lambda arguments: {"value": arguments["value"] * 2})
    supervisor.register("ready", lambda arguments: {"hello": arguments["pid"]})
    assert await supervisor.ask("double", value=21) == {"value": 42}
    assert await child.ask("ready", pid=7) == {"hello": 7}


async def test_answers_that_take_their_time_find_their_question(pair: Pair) -> None:
    first, second = pair
    gates = {"a": asyncio.Event(), "b": asyncio.Event()}

    async def wait(arguments: dict[str, Any]) -> dict[str, Any]:
        await gates[arguments["name"]].wait()
        return arguments

    second.register("wait", wait)
    asked = [asyncio.create_task(first.ask("wait", name=name)) for name in "ab"]
    second.register("now", lambda arguments: {})
    assert await first.ask("now") == {}
    gates["b"].set()
    assert await asked[1] == {"name": "b"}
    gates["a"].set()
    assert await asked[0] == {"name": "a"}


def refuses(arguments: dict[str, Any]) -> dict[str, Any]:
    raise ControlError("not now")


def breaks(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"value": arguments["missing"]}


@pytest.mark.parametrize(
    ("handler", "error"), [(refuses, "not now"), (breaks, "'missing'"), (None, "nobody answers")]
)
async def test_an_error_goes_to_who_asked(
    pair: Pair, handler: Callable[[dict[str, Any]], dict[str, Any]] | None, error: str
) -> None:
    supervisor, child = pair
    if handler is not None:
        child.register("question", handler)
    with pytest.raises(ControlError, match=error):
        await supervisor.ask("question")
    child.register("next", lambda arguments: {})
    assert await supervisor.ask("next") == {}


async def test_who_is_gone_answers_nothing(pair: Pair) -> None:
    supervisor, child = pair
    child.register("die", lambda arguments: child.close() or {})  # type: ignore[func-returns-value]
    with pytest.raises(ControlError, match="gone"):
        await supervisor.ask("die")
    assert not supervisor.open
    with pytest.raises(ControlError, match="gone"):
        await supervisor.ask("die")


async def test_an_answer_that_does_not_come_is_not_waited_for(pair: Pair) -> None:
    supervisor, child = pair
    never = asyncio.Event()

    async def wait(arguments: dict[str, Any]) -> dict[str, Any]:
        await never.wait()
        return {"late": True}

    child.register("wait", wait)
    child.register("next", lambda arguments: {"late": False})
    with pytest.raises(ControlError, match=r"within 0\.01 s"):
        await supervisor.ask("wait", within=0.01)
    never.set()
    assert await supervisor.ask("next") == {"late": False}


async def test_the_end_is_told_once() -> None:
    one, other = socket.socketpair()
    told: list[str] = []
    ended = asyncio.Event()

    def tell() -> None:
        told.append("end")
        ended.set()

    control = await Control.over(one, tell)
    other.close()
    await asyncio.wait_for(ended.wait(), 10)
    control.close()
    await asyncio.sleep(0)
    assert told == ["end"]


async def test_large_messages_arrive_whole(pair: Pair) -> None:
    supervisor, child = pair
    child.register("echo", lambda arguments: arguments)
    text = "x" * 3_000_000
    assert await supervisor.ask("echo", text=text) == {"text": text}


@pytest.mark.parametrize(
    ("data", "goes_on"),
    [
        (b"\0\0\0\4null", True),
        (b"\0\0\0\5[1,2]", True),
        (b"\0\0\0\3{a}", True),
        (b'\0\0\0\x1b{"id": 9, "answer": {"x":1}}'[:31], True),
        ((MESSAGE_LIMIT + 1).to_bytes(4, "big") + b"x", False),
    ],
)
async def test_nonsense_does_no_harm(data: bytes, goes_on: bool) -> None:
    one, other = socket.socketpair()
    ended = asyncio.Event()
    control = await Control.over(one, ended.set)
    control.register("next", lambda arguments: {"well": True})
    other.sendall(data)
    if goes_on:
        peer = await Control.over(other)
        assert await peer.ask("next") == {"well": True}
        peer.close()
    else:
        await asyncio.wait_for(ended.wait(), 10)
        other.close()
    control.close()


async def test_ask_all_goes_on_without_who_has_gone(pair: Pair) -> None:
    supervisor, child = pair
    child.register("count", lambda arguments: {"count": 3})
    one, other = socket.socketpair()
    gone = await Control.over(one)
    other.close()
    assert await ask_all([gone, supervisor], "count") == [{"count": 3}]
    gone.close()
