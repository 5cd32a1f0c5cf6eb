"""Questions and answers between two of our processes: the supervisor and a child, or a command.

Either side registers the questions it answers and asks the other's. A message is its length as four
bytes (network order) and that many bytes of JSON. Must not know what is asked.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self, cast

Facts = dict[str, Any]
"""What JSON can hold."""
Handler = Callable[[Facts], Facts | Awaitable[Facts]]

MESSAGE_LIMIT: Final = 64 << 20
"""Bytes of one message: a whole configuration, or the metrics of a child, is far below."""
ANSWER_TIMEOUT: Final = 10.0
"""Seconds that an answer may take unless the question says otherwise."""

_log = logging.getLogger("synproxy.control")


class ControlError(Exception):
    """No answer: the other side has gone, took too long, or said why there is none."""


class Control(asyncio.Protocol):
    """One end of a channel. ``ended`` is called once when the other end has gone."""

    def __init__(self, ended: Callable[[], None] | None = None) -> None:
        self._handlers: dict[str, Handler] = {}
        self._waiting: dict[int, asyncio.Future[Facts]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._buffer = bytearray()
        self._last = 0
        self._ended = ended
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def over(cls, sock: socket.socket, ended: Callable[[], None] | None = None) -> Self:
        """The end that a connected UNIX socket is."""
        control = cls(ended)
        await control.attach(sock)
        return control

    async def attach(self, sock: socket.socket) -> None:
        """Be the end that a connected UNIX socket is."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=sock)

    @property
    def open(self) -> bool:
        """Whether the other end is there."""
        return self._transport is not None and not self._transport.is_closing()

    def register(self, question: str, handler: Handler) -> None:
        """Answer a question from now on; what the handler raises goes back as its error."""
        self._handlers[question] = handler

    async def ask(self, question: str, within: float = ANSWER_TIMEOUT, **arguments: Any) -> Facts:
        """The other side's answer.

        :raises ControlError: there is none.
        """
        if self._transport is None or self._transport.is_closing():
            raise ControlError("the other side has gone")
        self._last = number = self._last + 1
        answer: asyncio.Future[Facts] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._send({"id": number, "question": question, "arguments": arguments})
            async with asyncio.timeout(within):
                return await answer
        except TimeoutError:
            raise ControlError(f"no answer to {question!r} within {within:g} s") from None
        finally:
            del self._waiting[number]

    def close(self) -> None:
        """End the channel once what was said is sent."""
        if self._transport is not None:
            self._transport.close()

    # --- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ControlError("the other side has gone"))
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        while len(buffer) >= 4:
            end = 4 + int.from_bytes(buffer[:4], "big")
            if end > MESSAGE_LIMIT:
                _log.error("a control message of %d bytes is over %d", end, MESSAGE_LIMIT)
                assert self._transport is not None
                self._transport.abort()
                buffer.clear()
                return
            if len(buffer) < end:
                return
            message = bytes(buffer[4:end])
            del buffer[:end]
            self._message(message)

    # --- messages

    def _message(self, data: bytes) -> None:
        try:
            message = json.loads(data)
            number = message["id"]
            question = message.get("question")
            arguments = message["arguments"] if question is not None else {}
        except (ValueError, KeyError, TypeError, AttributeError):
            _log.error("a control message is not understood")
            return
        if question is not None:
            self._answer(number, question, arguments)
            return
        answer = self._waiting.get(number)
        if answer is None or answer.done():
            return  # too late
        if (error := message.get("error")) is not None:
            answer.set_exception(ControlError(error))
        else:
            answer.set_result(message.get("answer") or {})

    def _answer(self, number: int, question: str, arguments: Facts) -> None:
        handler = self._handlers.get(question)
        if handler is None:
            self._send({"id": number, "error": f"nobody answers {question!r}"})
            return
        try:
            result = handler(arguments)
        except Exception as error:  # whatever it is, the other side must hear of it
            self._failed(number, question, error)
            return
        if inspect.isawaitable(result):
            task = asyncio.ensure_future(self._answer_later(number, question, result))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._send({"id": number, "answer": result})

    async def _answer_later(self, number: int, question: str, result: Awaitable[Facts]) -> None:
        try:
            answer = await result
        except Exception as error:
            self._failed(number, question, error)
        else:
            self._send({"id": number, "answer": answer})

    def _failed(self, number: int, question: str, error: Exception) -> None:
        if not isinstance(error, ControlError):
            _log.exception("%s failed", question, exc_info=error)
        self._send({"id": number, "error": str(error) or type(error).__name__})

    def _send(self, message: Facts) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        data = json.dumps(message).encode()
        self._transport.write(len(data).to_bytes(4, "big") + data)


@contextmanager
def channel() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our end of a new channel, and that of a process which is started meanwhile."""
    ours, theirs = socket.socketpair()
    try:
        yield ours, theirs
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()


async def ask_all(
    controls: Iterable[Control], question: str, within: float = ANSWER_TIMEOUT, **arguments: Any
) -> list[Facts]:
    """The answers of all that answer, in order; who has gone meanwhile, or is stuck, has none."""
    results = await asyncio.gather(
        *(control.ask(question, within, **arguments) for control in controls),
        return_exceptions=True,
    )
    answers = []
    for result in results:
        if isinstance(result, ControlError):
            _log.warning("%s: %s", question, result)
        elif isinstance(result, BaseException):
            raise result
        else:
            answers.append(result)
    return answers
