"""All checks in the order in which an administrator reads them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from synproxy.cli.doctor import discovery, escapes, forwarding, limits, software
from synproxy.cli.doctor.asking import NoReplyError, Reply, ask
from synproxy.cli.doctor.finding import Finding
from synproxy.cli.doctor.holders import Holders
from synproxy.cli.doctor.identity import Identity, check_user
from synproxy.cli.doctor.listeners import check_listeners, serving_process
from synproxy.cli.doctor.names import look_up
from synproxy.cli.doctor.routing import way_of
from synproxy.cli.doctor.servers import Server, check_pools, check_versions, visit_servers
from synproxy.config.addresses import UnixAddress, host_and_port, parse_listen
from synproxy.config.model import Config
from synproxy.explain.offline import Offline
from synproxy.synapse.deployment import Deployment


@dataclass(frozen=True, slots=True)
class Questions:
    """What the administrator wants to know, and what is known beforehand."""

    offline: Offline
    url: str
    """Where clients come in: an http URL, or ``unix:/path``."""
    token: str
    """An access token, or empty."""
    clients: int
    """Requests at the same time."""
    patience: float
    """Seconds for each question."""
    holders: Holders
    unit: dict[str, str]
    software: list[Finding]
    deployment: Deployment | None = None
    """What Synapse's own files say, if they were given."""


async def examine(asked: Questions) -> list[Finding]:
    """Every finding."""
    names, config = await look_up(asked.offline.config)
    offline = Offline(config) if names else asked.offline
    patience = asked.patience
    identity = Identity.current()
    servers = await visit_servers(config, identity, patience)
    reply, silence = await _probe(asked.url, patience)
    way_in = asked.url if reply is not None else None
    main = _server_for(offline, servers, software.PROBE)
    uploads = _server_for(offline, servers, limits.MEDIA_CONFIG[0])
    stated = asked.deployment
    upload, client, server, here, through = await asyncio.gather(
        limits.check_upload(
            offline,
            way_in or uploads,
            asked.token,
            None if stated is None else stated.max_upload_size,
            patience,
        ),
        discovery.check_client(
            way_in,
            main,
            config.well_known.client,
            "" if stated is None else stated.public_baseurl,
            patience,
        ),
        discovery.check_server(way_in, main, config.well_known.server, patience),
        escapes.check_here(offline),
        escapes.check_way_in(way_in, patience),
    )
    return [
        *asked.software,
        check_user(identity, asked.unit),
        *check_listeners(config, asked.holders, identity),
        *names,
        *(server.socket for server in servers.values()),
        *(server.health for server in servers.values() if server.health is not None),
        *check_pools(config, servers),
        check_versions(servers),
        software.check_running(asked.url, reply, silence),
        *forwarding.check_headers(offline),
        forwarding.check_closed(offline),
        here,
        through,
        upload,
        limits.check_transactions(offline),
        *limits.check_keepalive(config),
        limits.check_descriptors(
            config, asked.clients, serving_process(config, asked.holders), asked.unit
        ),
        client,
        server,
    ]


def first_url(config: Config) -> str:
    """How a client on this machine reaches the first listener."""
    address = parse_listen(config.listeners[0].listen)
    if isinstance(address, UnixAddress):
        return f"unix:{address.path}"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104
    return f"http://{host_and_port(host, address.port)}"


async def _probe(url: str, patience: float) -> tuple[Reply | None, str]:
    try:
        return await ask(url, software.PROBE, patience), ""
    except NoReplyError as error:
        return None, str(error)


def _server_for(offline: Offline, servers: dict[str, Server], target: str) -> str | None:
    """A server that answers, out of the pool that gets a target."""
    pool = offline.config.pools.get(way_of(offline, "GET", target).pool)
    addresses = [server.address for server in pool.servers] if pool is not None else []
    return next((a for a in addresses if a in servers and servers[a].healthy), None)
