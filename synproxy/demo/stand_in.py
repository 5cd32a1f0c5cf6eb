"""Stand-ins for Synapse workers: each answers on its UNIX socket with what it received.

Must not know synproxy or its configuration: a name and a socket path are all a worker gets. The
answers look like Synapse's (synapse/http/server.py): chunked JSON with CORS headers, 204 to
OPTIONS, and a /sync with ``since`` that is held for ``timeout`` milliseconds.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "X-Requested-With, Content-Type, Authorization, Date",
    "Access-Control-Expose-Headers": "Synapse-Trace-Id, Server",
}

LONGEST_POLL = 30.0  # seconds


class StandIns:
    """Workers by name, each on its own socket in `directory`; an asynchronous context."""

    def __init__(self, sockets: Mapping[str, Path]) -> None:
        self._sockets = sockets
        self._runners: list[web.ServerRunner] = []

    async def __aenter__(self) -> StandIns:
        try:
            for name, path in self._sockets.items():
                runner = web.ServerRunner(web.Server(_Worker(name).answer, access_log=None))
                await runner.setup()
                self._runners.append(runner)
                await web.UnixSite(runner, path).start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for runner in self._runners:
            await runner.shutdown()
            await runner.cleanup()


class _Worker:
    def __init__(self, name: str) -> None:
        self.name = name

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {"Server": "Synapse (stand-in)", **CORS}
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=headers)
        received = len(await request.read())
        await asyncio.sleep(_poll_time(request))
        response = web.StreamResponse(
            headers={
                **headers,
                "Content-Type": "application/json",
                "Cache-Control": "no-cache, no-store, must-revalidate",
            }
        )
        response.enable_chunked_encoding()
        await response.prepare(request)
        body = {
            "worker": self.name,
            "method": request.method,
            "target": request.raw_path,
            "headers": {name: _shown(name, value) for name, value in request.headers.items()},
            "body_bytes": received,
        }
        await response.write(json.dumps(body, indent=2).encode() + b"\n")
        return response


def _shown(name: str, value: str) -> str:
    return "<received, not shown>" if name.lower() == "authorization" else value


def _poll_time(request: web.BaseRequest) -> float:
    """Seconds that Synapse would hold a /sync without news."""
    timeout = request.query.get("timeout", "")
    held = request.path.endswith("/sync") and request.query.get("since")
    if not held or not timeout.isascii() or not timeout.isdigit():
        return 0.0
    return min(int(timeout) / 1000, LONGEST_POLL)
