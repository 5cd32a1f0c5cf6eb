"""A fault of our own in the middle of a request is logged without what the request carries."""

from __future__ import annotations

from pathlib import Path

import pytest

from synproxy.proxy.exchange import Exchange
from synproxy.proxy.generation import Generation
from tests.integration.harness import Proxy, ScriptedServer, becomes_true

CANARY = "syt_YWxpY2U_CaNaRy_0a1b2c"
REQUEST = (
    f"PUT /x?access_token={CANARY} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {CANARY}\r\n"
    f"Cookie: a={CANARY}\r\nContent-Length: {len(CANARY)}\r\n\r\n"
).encode()


@pytest.mark.interpreted
@pytest.mark.parametrize(
    ("owner", "name"),
    [(Generation, "decide"), (Exchange, "request_body"), (Exchange, "_finish")],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_traceback_holds_no_token(
    owner: type,
    name: str,
    sockets: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(self: object, *args: object, **more: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(owner, name, fails)
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(REQUEST)
        if name != "decide":
            peer, _ = await server.request()
            await client.send(CANARY.encode())
        if name == "_finish":
            await peer.answer()
        await becomes_true(lambda: "RuntimeError: a fault" in caplog.text)
        assert CANARY not in caplog.text
