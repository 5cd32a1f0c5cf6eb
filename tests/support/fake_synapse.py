"""A stand-in for one Synapse process, with the answers that `synproxy doctor` asks for.

The answers are shaped as Synapse 1.157 gives them (synapse/rest, checked against the real one);
what a test wants otherwise, it sets.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web

TOKEN = "syt_YWxpY2U_doctor_000000"
CORS = {"Access-Control-Allow-Origin": "*"}
_ALIAS = re.compile(r"/_matrix/client/v3/directory/room/([^/?]*)")


@dataclass
class FakeSynapse:
    """What this process says. A path in ``overrides`` is answered with that status and JSON."""

    server_name: str = "example.org"
    version: str = "Synapse/1.157.1"
    health: int = 200
    upload: int = 50 << 20
    client: dict[str, Any] | None = None
    server: dict[str, Any] | None = None
    overrides: dict[str, tuple[int, Any]] = field(default_factory=dict)
    cors: bool = True
    on_the_way: Callable[[str], str] = str
    """What a proxy in front makes of a request-target."""
    asked: list[web.BaseRequest] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def on(self, path: Path) -> AsyncIterator[str]:
        """Serve on a UNIX socket; gives its address."""
        async with self._serving() as runner:
            await web.UnixSite(runner, path).start()
            yield f"unix:{path}"

    @contextlib.asynccontextmanager
    async def on_port(self) -> AsyncIterator[str]:
        """Serve on a loopback port; gives ``host:port``."""
        async with self._serving() as runner:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"127.0.0.1:{runner.addresses[0][1]}"

    @contextlib.asynccontextmanager
    async def _serving(self) -> AsyncIterator[web.ServerRunner]:
        runner = web.ServerRunner(web.Server(self._answer, access_log=None))
        await runner.setup()
        try:
            yield runner
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request)
        status, body = self._decide(request)
        headers = {"Server": self.version} | (CORS if self.cors else {})
        if isinstance(body, str):
            return web.Response(status=status, text=body, headers=headers)
        return web.json_response(body, status=status, headers=headers)

    def _decide(self, request: web.BaseRequest) -> tuple[int, Any]:
        target = self.on_the_way(request.raw_path)
        if target in self.overrides:
            return self.overrides[target]
        alias = _ALIAS.fullmatch(target)
        if alias is not None:
            name = unquote(alias[1])
            if not name.startswith("#") or ":" not in name:
                return 400, {"errcode": "M_INVALID_PARAM", "error": "Room alias invalid"}
            return 404, {"errcode": "M_NOT_FOUND", "error": f"Room alias {name} not found"}
        if target == "/health":
            return self.health, "OK"
        if target == "/_matrix/client/versions":
            return 200, {"versions": ["v1.1"]}
        if target == "/_matrix/key/v2/server":
            return 200, {"server_name": self.server_name}
        if target == "/_matrix/client/v1/media/config":
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                return 401, {"errcode": "M_UNKNOWN_TOKEN"}
            return 200, {"m.upload.size": self.upload}
        if target == "/.well-known/matrix/client" and self.client is not None:
            return 200, self.client
        if target == "/.well-known/matrix/server" and self.server is not None:
            return 200, self.server
        return 404, {"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"}
