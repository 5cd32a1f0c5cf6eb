"""The stand-ins answer as Synapse does, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from synproxy.demo.stand_in import StandIns


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    path = tmp_path / "w.sock"
    async with (
        StandIns({"login": path}),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
    ):
        yield session


async def test_the_answer_names_the_worker_and_what_it_received(
    client: aiohttp.ClientSession,
) -> None:
    url = URL("http://x/_matrix/%61//b?c=%2F", encoded=True)
    headers = {"Authorization": "Bearer secret", "X-Forwarded-For": "192.0.2.1"}
    async with client.post(url, data=b"12345", headers=headers) as response:
        body = await response.json()
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert body["worker"] == "login"
    assert body["method"] == "POST"
    assert body["target"] == "/_matrix/%61//b?c=%2F"
    assert body["body_bytes"] == 5
    assert body["headers"]["X-Forwarded-For"] == "192.0.2.1"
    assert "secret" not in str(body)


async def test_options_is_answered_without_a_body(client: aiohttp.ClientSession) -> None:
    async with client.options("http://x/anything") as response:
        assert response.status == 204
        assert "Authorization" in response.headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize(
    ("query", "held"),
    [("since=s1&timeout=80", True), ("timeout=80", False), ("since=s1", False)],
)
async def test_a_sync_is_held_for_its_timeout(
    query: str, held: bool, client: aiohttp.ClientSession
) -> None:
    loop_time = asyncio.get_running_loop().time
    before = loop_time()
    async with client.get(f"http://x/_matrix/client/v3/sync?{query}") as response:
        assert response.status == 200
    assert (loop_time() - before >= 0.08) is held
