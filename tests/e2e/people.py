"""People with matrix-nio: what users do, one at a time or many together."""

from __future__ import annotations

import base64
import secrets
from types import TracebackType
from typing import Any, Self, TypeVar

import nio

PASSWORD = "correct horse battery staple"
HOLD = 20_000
"""How long a sync is held, in milliseconds; far longer than a send takes to arrive."""

Response = TypeVar("Response")


def unknown_token(localpart: str) -> str:
    """A token as Synapse makes them for users. Nobody has it, but it names its user."""
    name = base64.b64encode(localpart.encode()).decode().rstrip("=")
    return f"syt_{name}_{secrets.token_hex(10)}_000000"


class Person:
    """One user with one device. Use it as an asynchronous context manager."""

    def __init__(self, base_url: str, name: str) -> None:
        self.name = name
        self._client = nio.AsyncClient(base_url, name)
        self._seen: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.close()

    @property
    def user_id(self) -> str:
        return str(self._client.user_id)

    @property
    def token(self) -> str:
        return str(self._client.access_token)

    async def register(self) -> None:
        _good(await self._client.register(self._client.user, PASSWORD), nio.RegisterResponse)

    async def log_in(self) -> None:
        """Another device, as after a registration elsewhere."""
        self._client.access_token = ""
        _good(await self._client.login(PASSWORD, "lab"), nio.LoginResponse)

    async def log_out(self) -> None:
        _good(await self._client.logout(), nio.LogoutResponse)

    async def rooms(self) -> list[str]:
        return list(_good(await self._client.joined_rooms(), nio.JoinedRoomsResponse).rooms)

    async def create_room(self, *invited: Person) -> str:
        response = await self._client.room_create(
            name="lab", invite=[person.user_id for person in invited]
        )
        return str(_good(response, nio.RoomCreateResponse).room_id)

    async def join(self, room: str) -> None:
        _good(await self._client.join(room), nio.JoinResponse)

    async def sync(self, hold: int = 0) -> list[str]:
        """The texts that are new since the last sync; waits ``hold`` ms for news."""
        response = _good(await self._client.sync(timeout=hold), nio.SyncResponse)
        texts = []
        for name, room in response.rooms.join.items():
            for event in room.timeline.events:
                self._seen[name] = event.event_id
                if isinstance(event, nio.RoomMessageText):
                    texts.append(event.body)
        return texts

    async def wait_for(self, *texts: str) -> None:
        """Syncs until each of ``texts`` has come."""
        missing = set(texts)
        while missing:
            missing.difference_update(await self.sync(HOLD))

    async def send(self, room: str, text: str) -> str:
        content = {"msgtype": "m.text", "body": text}
        response = await self._client.room_send(room, "m.room.message", content)
        return str(_good(response, nio.RoomSendResponse).event_id)

    async def typing(self, room: str) -> None:
        _good(await self._client.room_typing(room), nio.RoomTypingResponse)

    async def read(self, room: str) -> None:
        """A receipt for the last event that this device has seen there."""
        seen = self._seen[room]
        _good(await self._client.update_receipt_marker(room, seen), nio.UpdateReceiptMarkerResponse)

    async def upload(self, data: bytes) -> str:
        response, _ = await self._client.upload(
            lambda _attempts, _timeouts: data, "application/octet-stream", filesize=len(data)
        )
        return str(_good(response, nio.UploadResponse).content_uri)

    async def download(self, uri: str) -> bytes:
        return bytes(_good(await self._client.download(uri), nio.MemoryDownloadResponse).body)


def _good(response: Any, kind: type[Response]) -> Response:
    assert isinstance(response, kind), response
    return response
