"""The admin listener: where operators and Prometheus ask. A service in the supervisor's loop.

During a binary upgrade a new supervisor takes the socket's path over; a socket of systemd's is used
by both until the old one ends.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from synproxy.admin.observer import Observer, Source
from synproxy.config.addresses import UnixAddress, parse_listen
from synproxy.config.certificates import CertificateError, admin_context
from synproxy.runtime.listeners import bind_private

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from synproxy.config.model import Admin, Config
    from synproxy.runtime.control import Facts, Handler
    from synproxy.runtime.listeners import InheritedSockets


class Host(Source, Protocol):
    """Whose service it is; :class:`synproxy.runtime.supervisor.Supervisor`."""

    inherited: InheritedSockets


class AdminListener:
    """Implements :class:`synproxy.runtime.supervisor.Service`."""

    def __init__(self) -> None:
        self._observer: Observer
        self._inherited: InheritedSockets
        self._admin: Admin | None = None
        self._runner: web.AppRunner | None = None
        self._path: Path | None = None
        self._inode = 0

    async def start(self, supervisor: Host) -> None:
        """Listen, if the configuration wants it; OSError: it cannot be."""
        self._observer = Observer(supervisor)
        self._inherited = supervisor.inherited
        try:
            await self._open(supervisor.config)
        except CertificateError as error:
            raise OSError(f"admin: {error}") from None

    async def reload(self, config: Config) -> str:
        """Move to where the configuration says; where that fails, stay. Files of certificates are
        read again."""
        if config.admin == self._admin and (config.admin is None or config.admin.tls is None):
            return ""
        before = self._runner, self._path, self._inode
        try:
            await self._open(config)
        except (OSError, CertificateError) as error:
            return f"admin: the old listener stays: {error}"
        await self._close(*before)
        return ""

    async def stop(self) -> None:
        """Leave no socket behind, but what another supervisor has taken over."""
        await self._observer.stop()
        runner, path = self._runner, self._path
        self._runner = self._path = self._admin = None
        await self._close(runner, path, self._inode)

    @staticmethod
    async def _close(runner: web.AppRunner | None, path: Path | None, inode: int) -> None:
        _remove(path, inode)
        if runner is not None:
            await runner.cleanup()

    def questions(self) -> Mapping[str, Handler]:
        async def overview(arguments: Facts) -> Facts:
            return await self._observer.overview()

        return {"overview": overview}

    async def _open(self, config: Config) -> None:
        """What was open stays so.

        :raises OSError: it cannot listen there.
        :raises CertificateError: a file cannot be used.
        """
        admin = config.admin
        if admin is None:
            await self._observer.stop()
            self._runner = self._path = self._admin = None
            return
        # aiohttp is for those who listen.
        from aiohttp import web

        from synproxy.admin.site import Site

        address = parse_listen(admin.listen)
        context = admin_context(admin.tls) if admin.tls is not None else None
        unix = isinstance(address, UnixAddress)
        local = isinstance(address, UnixAddress) or ipaddress.ip_address(address.host).is_loopback
        app = Site(self._observer, writable=unix or context is not None).application(local=local)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        path, inode = None, 0
        try:
            if (inherited := self._inherited.lend(address)) is not None:
                await web.SockSite(runner, inherited, ssl_context=context).start()
            elif isinstance(address, UnixAddress):
                path = Path(address.path)
                sock = bind_private(path)
                inode = os.stat(path).st_ino
                await web.SockSite(runner, sock).start()
            else:
                await web.TCPSite(
                    runner, address.host, address.port, reuse_port=True, ssl_context=context
                ).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner, self._path, self._inode, self._admin = runner, path, inode, admin
        self._observer.start()


def _remove(path: Path | None, inode: int) -> None:
    """Remove a socket that is still ours."""
    if path is not None and path.exists() and path.stat().st_ino == inode:
        path.unlink()
