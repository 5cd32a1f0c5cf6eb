"""Names in pools: can each be resolved, and what is behind it at this moment?

Asks the name servers that the running synproxy would ask.
"""

from __future__ import annotations

import asyncio

from synproxy.cli.doctor.finding import Finding, fail, ok
from synproxy.config.addresses import host_and_port
from synproxy.config.model import Config, Pool, Server
from synproxy.core.names import Found, ResolvedServer, expand, names_of
from synproxy.upstream.dns import Answer, Lookup, LookupFailedError


async def look_up(config: Config) -> tuple[list[Finding], Config]:
    """A finding for each name, and the configuration with the servers behind them."""
    names = names_of(config)
    if not names:
        return [], config
    lookup = Lookup(config.resolver)
    answers = await asyncio.gather(*(_ask(lookup, name) for name in names))
    known = {
        name: answer.found
        for name, answer in zip(names, answers, strict=True)
        if isinstance(answer, Answer)
    }
    findings = [_finding(name, answer) for name, answer in zip(names, answers, strict=True)]
    pools = {name: _at_addresses(expand(pool, known)) for name, pool in config.pools.items()}
    return findings, config.model_copy(update={"pools": pools})


async def _ask(lookup: Lookup, name: str) -> Answer | str:
    try:
        return await lookup.ask(name)
    except LookupFailedError as error:
        return str(error)


def _finding(name: str, answer: Answer | str) -> Finding:
    if isinstance(answer, str):
        remedy = "correct the name, or ask who keeps the zone; see resolver.nameservers"
        return fail("name", name, answer, remedy)
    found = ", ".join(map(_shown, answer.found))
    return ok("name", name, f"{found} (to be kept for {answer.ttl:g} s)")


def _shown(found: Found) -> str:
    return f"{found.address} at {' '.join(found.places)}" if found.priority else found.address


def _at_addresses(pool: Pool) -> Pool:
    """The targets of SRV records, which this machine need not be able to resolve otherwise, by
    their addresses. A name that is not known is no server that could be visited."""
    servers = tuple(map(_at_address, pool.servers))
    return pool.model_copy(update={"servers": servers})


def _at_address(server: Server) -> Server:
    if isinstance(server, ResolvedServer):
        place = server.places[0]
        port = server.address.rpartition(":")[2]
        return server.model_copy(update={"address": host_and_port(place, port)})
    return server.model_copy(update={"down": True}) if server.resolve else server
