"""Clients under load: closed loops that hold syncs, send GETs and say things, and count failures.

Each loop has one request at a time and pauses after it, so the load is bounded by the number of
loops; loops end by themselves after MOST requests. The HTTP client retries nothing on its own.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

PAUSE = 0.3
"""Seconds between one request of a loop and the next."""
WRITE_PAUSE = 1.0
"""The same for what is said: all ten processes hear of it, so it costs ten times as much."""
BUSY = 0.02
"""The same for what is said when the worker that takes it is to go: it shall be in the middle."""
MOST = 5000
CLIENT_TIMEOUT = 110.0
"""Seconds; longer than a worker takes to start on a busy machine."""
HOLD = 1000
"""How long a sync without news is held, in milliseconds."""
V3 = "/_matrix/client/v3"


@dataclass(frozen=True, slots=True)
class User:
    """Who asks, with the token that a login gave."""

    user_id: str
    token: str


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part, and where they talk. Holders are in no room, so nothing wakes their syncs."""

    holders: list[User]
    speakers: list[User]
    room: str
    gets: dict[str, str]
    """Targets of GET by name, asked for by the first holder."""


@dataclass(slots=True)
class Loop:
    """One loop: how many requests it has begun and finished, and what failed."""

    name: str
    begun: int = 0
    done: int = 0
    failures: list[str] = field(default_factory=list)


WRITERS = ("put", "post")


class Load:
    """The loops over one proxy."""

    def __init__(self, session: aiohttp.ClientSession, write_pause: float) -> None:
        self._session = session
        self._write_pause = write_pause
        self._stopping = asyncio.Event()
        self._turned = asyncio.Condition()
        self.loops: list[Loop] = []
        self.said: list[str] = []
        """The texts of which Synapse said that it has them."""

    @property
    def failures(self) -> list[str]:
        """What went wrong with syncs and GETs."""
        return [text for loop in self.loops if loop.name not in WRITERS for text in loop.failures]

    def failures_of(self, name: str) -> list[str]:
        return [text for loop in self.loops if loop.name == name for text in loop.failures]

    async def finishes(self, more: int = 0) -> None:
        """Waits until each loop has finished what it is at now, and ``more`` requests after it."""
        goals = [(loop, loop.begun + more) for loop in self.loops]
        async with self._turned:
            await self._turned.wait_for(lambda: all(loop.done >= goal for loop, goal in goals))

    async def all_hold(self) -> None:
        """Waits until every user without news has a sync open, after the one that began it."""
        syncs = [loop for loop in self.loops if loop.name == "hold"]
        async with self._turned:
            await self._turned.wait_for(lambda: all(loop.begun > loop.done > 0 for loop in syncs))

    def stop(self) -> None:
        self._stopping.set()

    async def get(self, user: User, name: str, target: str) -> None:
        """Sends one GET after the other."""
        await self._repeat(name, lambda loop: self._request(loop, user, "GET", target))

    async def sync(self, user: User, name: str) -> None:
        """Sends one sync after the other; without news each is held."""
        since = ""

        async def sync(loop: Loop) -> None:
            nonlocal since
            target = f"{V3}/sync?timeout={HOLD}&since={since}" if since else f"{V3}/sync?timeout=0"
            answer = await self._request(loop, user, "GET", target)
            if answer is not None:
                since = answer["next_batch"]

        await self._repeat(name, sync)

    async def put(self, user: User, room: str) -> None:
        """Says one thing after the other; what fails is said again under the same transaction
        id, as clients do."""
        text = ""

        async def say(loop: Loop) -> None:
            nonlocal text
            text = text or _new_text()
            target = f"{V3}/rooms/{room}/send/m.room.message/{text}"
            if await self._request(loop, user, "PUT", target, _message(text)) is not None:
                self.said.append(text)
                text = ""

        await self._repeat("put", say, self._write_pause)

    async def post(self, user: User, room: str) -> None:
        """Says things without a transaction id, so Synapse cannot know a repetition."""

        async def say(loop: Loop) -> None:
            text = _new_text()
            target = f"{V3}/rooms/{room}/send/m.room.message"
            if await self._request(loop, user, "POST", target, _message(text)) is not None:
                self.said.append(text)

        await self._repeat("post", say, self._write_pause)

    async def _repeat(
        self, name: str, action: Callable[[Loop], Awaitable[object]], pause: float = PAUSE
    ) -> None:
        loop = Loop(name)
        self.loops.append(loop)
        while not self._stopping.is_set() and loop.begun < MOST:
            loop.begun += 1
            await self._tell()
            await action(loop)
            loop.done += 1
            await self._tell()
            await asyncio.sleep(pause)

    async def _tell(self) -> None:
        async with self._turned:
            self._turned.notify_all()

    async def _request(
        self, loop: Loop, user: User, method: str, target: str, content: Any = None
    ) -> Any:
        """The content of an answer with status 200; None after writing down what went wrong."""
        headers = {"Authorization": f"Bearer {user.token}"}
        try:
            async with self._session.request(
                method, target, headers=headers, json=content
            ) as answer:
                body = await answer.read()
                if answer.status == 200:
                    return await answer.json()
                problem = f"{answer.status} {body[:200]!r}"
        except (aiohttp.ClientError, TimeoutError) as error:
            problem = repr(error)
        loop.failures.append(f"{method} {target} by {user.user_id}: {problem}")
        return None


def _new_text() -> str:
    return secrets.token_hex(8)


def _message(text: str) -> dict[str, str]:
    return {"msgtype": "m.text", "body": text}


@asynccontextmanager
async def load_on(url: str, cast: Cast, write_pause: float = WRITE_PAUSE) -> AsyncIterator[Load]:
    """Load while the block runs; on its way out each loop finishes its request."""
    timeout = aiohttp.ClientTimeout(total=CLIENT_TIMEOUT)
    async with aiohttp.ClientSession(url, timeout=timeout) as session:
        session._retry_connection = False  # aiohttp's own test client does the same
        load = Load(session, write_pause)
        async with asyncio.TaskGroup() as tasks:
            for user in cast.holders:
                tasks.create_task(load.sync(user, "hold"))
            for user in cast.speakers:
                tasks.create_task(load.sync(user, "listen"))
                tasks.create_task(load.put(user, cast.room))
                tasks.create_task(load.post(user, cast.room))
            for name, target in cast.gets.items():
                tasks.create_task(load.get(cast.holders[0], name, target))
            await asyncio.sleep(0)
            try:
                await load.finishes()
                yield load
            finally:
                load.stop()
