"""The admin listener: GET /metrics and /status. A service in the supervisor's loop.

During a binary upgrade a new supervisor takes the socket's path over.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from synproxy import __version__
from synproxy.admin.totals import Totals
from synproxy.config.addresses import UnixAddress, parse_listen
from synproxy.runtime.control import ControlError

if TYPE_CHECKING:
    from aiohttp import web

    from synproxy.config.model import Config


class Source(Protocol):
    """Where the facts come from; :class:`synproxy.runtime.supervisor.Supervisor`."""

    config: Config

    async def ask_all(self, question: str, within: float = 10.0) -> list[dict[str, Any]]: ...

    def facts(self) -> dict[str, Any]: ...


_STATUS = ("up", "restarting", "down")


class AdminListener:
    """Implements :class:`synproxy.runtime.supervisor.Service`."""

    def __init__(self) -> None:
        self._source: Source
        self._listen = ""
        self._runner: web.AppRunner | None = None
        self._path: Path | None = None
        self._inode = 0
        self._totals = Totals()

    async def start(self, supervisor: Source) -> None:
        """Listen, if the configuration wants it; OSError: it cannot be."""
        self._source = supervisor
        await self._open(supervisor.config)

    async def reload(self, config: Config) -> None:
        """Move to where the configuration says."""
        if (config.admin.listen if config.admin is not None else "") != self._listen:
            await self.stop()
            await self._open(config)

    async def stop(self) -> None:
        """Leave no socket behind, but what another supervisor has taken over."""
        runner, self._runner = self._runner, None
        path, self._path = self._path, None
        self._listen = ""
        if path is not None and path.exists() and path.stat().st_ino == self._inode:
            path.unlink()
        if runner is not None:
            await runner.cleanup()

    async def _open(self, config: Config) -> None:
        if config.admin is None:
            return
        from aiohttp import web  # half a second of CPU that nobody else has to pay

        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/status", self._status)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        address = parse_listen(config.admin.listen)
        try:
            if isinstance(address, UnixAddress):
                await self._bind(runner, Path(address.path))
            else:
                await web.TCPSite(runner, address.host, address.port, reuse_port=True).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner, self._listen = runner, config.admin.listen

    async def _bind(self, runner: web.AppRunner, path: Path) -> None:
        from aiohttp import web

        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        mask = os.umask(0o177)  # only our user, and root
        try:
            await web.UnixSite(runner, str(fresh)).start()
        finally:
            os.umask(mask)
        self._inode = fresh.stat().st_ino
        fresh.rename(path)
        self._path = path

    # --- answers

    async def _collect(self) -> dict[str, Any]:
        self._totals.update(await self._source.ask_all("snapshot"))
        return self._source.facts()

    async def _metrics(self, request: web.Request) -> web.Response:
        from aiohttp import web
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder
        from prometheus_client.registry import Collector

        from synproxy.admin.exposition import families

        try:
            facts = await self._collect()
        except ControlError as error:
            return web.Response(status=503, text=f"{error}\n")
        metrics = list(families(self._totals, facts))

        class Once(Collector):
            def collect(self) -> Any:
                return metrics

        registry = CollectorRegistry()
        registry.register(Once())
        encode, kind = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": kind})

    async def _status(self, request: web.Request) -> web.Response:
        from aiohttp import web

        try:
            facts = await self._collect()
        except ControlError as error:
            return web.json_response({"error": str(error)}, status=503)
        totals = self._totals
        pools: dict[str, Any] = {}
        for (pool, address), status in totals.servers.items():
            about = pools.setdefault(pool, {"servers": {}})
            about["servers"][address] = _STATUS[status]
        for name in ("busy", "idle", "held", "queued"):
            for (pool,), value in totals.now.get(name, {}).items():
                pools.setdefault(pool, {"servers": {}})[name] = value
        return web.json_response(
            {
                "version": __version__,
                **facts,
                "connections": {k[0]: n for k, n in totals.now.get("connections", {}).items()},
                "in_flight": {k[0]: n for k, n in totals.now.get("in_flight", {}).items()},
                "pools": pools,
                "errors": totals.errors,
            }
        )
