"""The admin listener: where operators and Prometheus ask. A service in the supervisor's loop.

During a binary upgrade a new supervisor takes the socket's path over.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING

from synproxy.admin.observer import Observer
from synproxy.config.addresses import UnixAddress, parse_listen
from synproxy.runtime.listeners import bind_private

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from synproxy.admin.observer import Source
    from synproxy.config.model import Config
    from synproxy.runtime.control import Facts, Handler


class AdminListener:
    """Implements :class:`synproxy.runtime.supervisor.Service`."""

    def __init__(self) -> None:
        self._observer: Observer
        self._listen = ""
        self._runner: web.AppRunner | None = None
        self._path: Path | None = None
        self._inode = 0

    async def start(self, supervisor: Source) -> None:
        """Listen, if the configuration wants it; OSError: it cannot be."""
        self._observer = Observer(supervisor)
        await self._open(supervisor.config)

    async def reload(self, config: Config) -> None:
        """Move to where the configuration says."""
        if (config.admin.listen if config.admin is not None else "") != self._listen:
            await self.stop()
            await self._open(config)

    async def stop(self) -> None:
        """Leave no socket behind, but what another supervisor has taken over."""
        await self._observer.stop()
        runner, self._runner = self._runner, None
        path, self._path = self._path, None
        self._listen = ""
        if path is not None and path.exists() and path.stat().st_ino == self._inode:
            path.unlink()
        if runner is not None:
            await runner.cleanup()

    def questions(self) -> Mapping[str, Handler]:
        async def overview(arguments: Facts) -> Facts:
            return await self._observer.overview()

        return {"overview": overview}

    async def _open(self, config: Config) -> None:
        if config.admin is None:
            return
        # aiohttp is for those who listen: a tenth of a second and 20 MB.
        from aiohttp import web

        from synproxy.admin.site import Site

        address = parse_listen(config.admin.listen)
        local = isinstance(address, UnixAddress) or ipaddress.ip_address(address.host).is_loopback
        app = Site(self._observer).application(local=local)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            if isinstance(address, UnixAddress):
                path = Path(address.path)
                sock = bind_private(path)
                self._path, self._inode = path, os.stat(path).st_ino
                await web.SockSite(runner, sock).start()
            else:
                await web.TCPSite(runner, address.host, address.port, reuse_port=True).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner, self._listen = runner, config.admin.listen
        self._observer.start()
