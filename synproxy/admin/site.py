"""What the admin listener answers, as an aiohttp application.

Reading is GET and changes nothing. Must not know sockets.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from synproxy.admin.explaining import Explainer
from synproxy.admin.exposition import families
from synproxy.admin.page import POLICY, page
from synproxy.admin.processes import process_families
from synproxy.core.redact import redact
from synproxy.errors import ConfigError
from synproxy.runtime.control import ControlError
from synproxy.synapse.scraping import metrics_targets
from synproxy.synapse.source import SynapseSource

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from synproxy.admin.observer import Observer

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LONGEST: Final = 8192
"""Bytes of a URL to explain; longer ones are 414 on the data path, too."""


class Site:
    """The pages of one process."""

    def __init__(self, observer: Observer, *, writable: bool) -> None:
        """``writable``: who can connect may change things."""
        self._writable = writable
        self._observer = observer
        self._explainer = Explainer()

    def application(self, *, local: bool) -> web.Application:
        """``local``: only this machine can connect, so names of other machines are a trick."""
        app = web.Application(middlewares=[_headers, *([_local_names] if local else [])])
        for path, handler in (
            ("/", self._page),
            ("/status", self._status),
            ("/metrics", self._metrics),
            ("/stub_status", self._stub_status),
            ("/ready", self._ready),
            ("/healthz", self._healthz),
            ("/http_sd", self._http_sd),
        ):
            app.router.add_get(path, handler)
        for name in ("drain", "undrain", "maintenance"):
            app.router.add_post(f"/{name}", partial(self._change, name))
        return app

    # --- for operators

    async def _change(self, name: str, request: web.Request) -> web.Response:
        """As the command of that name; the body is JSON with its arguments."""
        if not self._writable:
            text = "changes need the UNIX socket, or a client certificate (admin.tls)\n"
            raise web.HTTPForbidden(text=text)
        # What a page in a browser can send to a stranger has another type, or this field.
        if request.content_type != "application/json" or "Origin" in request.headers:
            raise web.HTTPUnsupportedMediaType(text="expected application/json\n")
        source = self._observer.source
        try:
            arguments = dict(await request.json())
            if name == "maintenance":
                done = await source.maintain(arguments)
            else:
                change = source.drain if name == "drain" else source.undrain
                done = await change(str(arguments["server"]))
        except (ValueError, TypeError, KeyError):
            wanted = '"on"' if name == "maintenance" else '"server"'
            raise web.HTTPBadRequest(text=f"expected JSON with {wanted}\n") from None
        except ControlError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from None
        return web.json_response(done, dumps=_readable)

    # --- for people

    async def _page(self, request: web.Request) -> web.Response:
        shown = await self._observer.overview()
        asked = {name: request.query.get(name, "") for name in ("method", "url", "from")}
        answer: Any = ""
        if asked["url"]:
            source = self._observer.source
            answer = self._explainer.rows(
                source.config, asked["method"], asked["url"], asked["from"], source.interventions
            )
            asked["url"] = redact(asked["url"])
        return web.Response(
            text=page(shown, asked, answer),
            content_type="text/html",
            headers={"Content-Security-Policy": POLICY},
        )

    async def _status(self, request: web.Request) -> web.Response:
        """JSON, or the page for a browser."""
        accept = request.headers.get("Accept", "")
        if "text/html" in accept and "json" not in accept:
            return await self._page(request)
        return web.json_response(await self._observer.overview(), dumps=_readable)

    async def _stub_status(self, request: web.Request) -> web.Response:
        """As ngx_http_stub_status_module, for what reads that."""
        await self._observer.look()
        totals = self._observer.totals
        counted = totals.counted()
        accepted = round(sum(counted["counts"].get("accepted", {}).values()))
        requests = round(self._observer.history.latest.total.requests)
        states = {key[0]: round(n) for key, n in totals.now.get("connections", {}).items()}
        return web.Response(
            text=f"Active connections: {sum(states.values())} \n"
            "server accepts handled requests\n"
            f" {accepted} {accepted} {requests} \n"
            f"Reading: {states.get('reading', 0)} Writing: {states.get('writing', 0)} "
            f"Waiting: {states.get('waiting', 0)} \n"
        )

    # --- for programs

    async def _http_sd(self, request: web.Request) -> web.Response:
        """Where Synapse's processes have their metrics; Prometheus keeps what it knows when this
        is no 200."""
        admin = self._observer.source.config.admin
        if admin is None or not admin.synapse:
            raise web.HTTPNotFound(text="admin.synapse names no files of Synapse\n")
        source = SynapseSource(tuple(map(Path, admin.synapse)))
        try:
            deployment = await asyncio.to_thread(source.deployment)
        except ConfigError as error:
            raise web.HTTPInternalServerError(text=f"{error}\n") from None
        return web.json_response(metrics_targets(deployment), dumps=_readable)

    async def _metrics(self, request: web.Request) -> web.Response:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder
        from prometheus_client.registry import Collector

        await self._observer.look()
        facts = self._observer.source.facts()
        children = {
            str(number): pid
            for number, pid in zip(facts["numbers"], facts["children"], strict=True)
        }
        processes = process_families(facts["pid"], children, facts["draining"])
        metrics = [*families(self._observer.totals, facts), *processes]

        class Once(Collector):
            def collect(self) -> Any:
                return metrics

        registry = CollectorRegistry()
        registry.register(Once())
        encode, kind = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": kind})

    async def _ready(self, request: web.Request) -> web.Response:
        """Whether requests are served."""
        serving = len(self._observer.source.facts()["children"])
        text = f"{serving} {'child serves' if serving == 1 else 'children serve'}\n"
        return web.Response(status=200 if serving else 503, text=text)

    async def _healthz(self, request: web.Request) -> web.Response:
        """Whether the main process is alive."""
        return web.Response(text="ok\n")


def _readable(value: object) -> str:
    return json.dumps(value, indent=1)


@web.middleware
async def _headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@web.middleware
async def _local_names(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what a web site makes a browser on this machine ask, under a name of its own that
    leads here (DNS rebinding): such a name has a dot."""
    if _is_foreign(request.headers.get("Host", "")):
        raise web.HTTPForbidden(text="ask for localhost or an address\n")
    return await handler(request)


def _is_foreign(host: str) -> bool:
    name = host.rpartition("]")[0].removeprefix("[") or host.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." in name and not name.lower().endswith(".localhost")
    return False
