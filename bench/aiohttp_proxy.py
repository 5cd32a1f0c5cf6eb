"""A reverse proxy as one would write it with aiohttp's server and client, on uvloop.

The yardstick for what a Python proxy costs that is built from a framework: streams, tasks and
multidicts. It routes, hashes users and sets headers as the other proxies here do.
"""

from __future__ import annotations

import argparse
import re
import resource
import zlib

import aiohttp
import uvloop
from aiohttp import web
from yarl import URL

from bench.lib.setup import Setup

_LOCALPART = re.compile(r"Bearer syt_(.*?)_")
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_BLOCK = 1 << 16


class Proxy:
    """Sessions to the workers, one per UNIX socket, and the handler."""

    def __init__(self, directory: str, setup: Setup) -> None:
        self._directory = directory
        self._setup = setup
        self._routes = [(re.compile(route.regex), route.pool) for route in setup.table()]
        self._sessions: dict[str, list[aiohttp.ClientSession]] = {}

    async def start(self, app: web.Application) -> None:
        for pool, servers in self._setup.pools().items():
            self._sessions[pool] = [
                self._session(f"{self._directory}/{server}.sock") for server in servers
            ]

    async def stop(self, app: web.Application) -> None:
        for sessions in self._sessions.values():
            for session in sessions:
                await session.close()

    def _session(self, path: str) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(path, limit=0, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=2, sock_read=3600),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def _pool(self, request: web.Request) -> str:
        pool = next(pool for regex, pool in self._routes if regex.match(request.path))
        if pool == "$sync":
            return "normal_sync" if request.query.get("since") else "initial_sync"
        return pool

    async def handle(self, request: web.Request) -> web.StreamResponse:
        sessions = self._sessions[self._pool(request)]
        authorization = request.headers.get("Authorization", "")
        user = _LOCALPART.match(authorization)
        key = user[1] if user else authorization
        session = sessions[zlib.crc32(key.encode()) % len(sessions)]
        headers = request.headers.copy()
        for name in request.headers:
            if name.lower() in _HOP_BY_HOP or name.lower() == "accept-encoding":
                headers.popall(name, None)
        headers["X-Forwarded-For"] = request.remote or ""
        headers["X-Forwarded-Proto"] = "http"
        async with session.request(
            request.method,
            URL(f"http://{request.host}{request.raw_path}", encoded=True),
            headers=headers,
            data=request.content if request.body_exists else None,
            allow_redirects=False,
        ) as answer:
            out = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    out.headers.add(name, value)
            if "Content-Length" not in answer.headers:
                out.enable_chunked_encoding()
            await out.prepare(request)
            async for block in answer.content.iter_any():
                await out.write(block)
            await out.write_eof()
            return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", help="where the workers' UNIX sockets are")
    parser.add_argument("port", type=int)
    parser.add_argument("--routes", type=int, default=10)
    parser.add_argument("--sync-servers", type=int, default=3)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.install()
    setup = Setup(routes=options.routes, sync_servers=options.sync_servers)
    proxy = Proxy(options.directory, setup)
    app = web.Application(client_max_size=1 << 32)
    app.on_startup.append(proxy.start)
    app.on_cleanup.append(proxy.stop)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    web.run_app(app, host="127.0.0.1", port=options.port, access_log=None, print=None, backlog=4096)


if __name__ == "__main__":
    main()
