"""Questions to name servers: all addresses of a name, or the servers of an SRV name, and TTLs.

dnspython does the protocol; it is imported when something is asked, for most installations have
nothing to ask. Must not know pools.
"""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from synproxy.config.addresses import host_and_port
from synproxy.core.names import Found, is_service

if TYPE_CHECKING:
    from collections.abc import Iterable

    from synproxy.config.model import Resolver

_TRY: Final = 2.0
"""Seconds for one question to one name server before it is asked again, or another one."""
_PORT: Final = 53


class LookupFailedError(Exception):
    """A name cannot be looked up; the text says why."""


class Answer(NamedTuple):
    """What a name stands for."""

    found: tuple[Found, ...]
    """Never empty, always in the same order."""
    ttl: float
    """Seconds for which it may be kept."""


class Lookup:
    """Asks the name servers of a configuration."""

    def __init__(self, settings: Resolver) -> None:
        self._settings = settings

    async def ask(self, name: str, before: Iterable[Found] = ()) -> Answer:
        """What is behind ``host:port`` or an SRV name. ``before``: what was found the last time.

        :raises LookupFailedError: nothing can be said.
        """
        resolver = self._resolver()
        if is_service(name):
            return await self._service(resolver, name, {one.address: one for one in before})
        host, _, port = name.rpartition(":")
        places, ttl = await self._addresses(resolver, host)
        return Answer(tuple(Found(host_and_port(place, port), (place,)) for place in places), ttl)

    def _resolver(self) -> Any:
        import dns.asyncresolver
        import dns.nameserver
        import dns.resolver

        given = self._settings.nameservers
        try:
            resolver = dns.asyncresolver.Resolver(configure=not given)
        except dns.resolver.NoResolverConfiguration as error:
            raise LookupFailedError(f"/etc/resolv.conf: {error}") from None
        if given:
            resolver.nameservers = [
                dns.nameserver.Do53Nameserver(*_host_and_port(one)) for one in given
            ]
        resolver.lifetime = self._settings.timeout
        resolver.timeout = min(_TRY, self._settings.timeout)
        return resolver

    async def _service(self, resolver: Any, name: str, before: dict[str, Found]) -> Answer:
        records, ttl = await self._records(resolver, name, "SRV")
        records.sort(key=lambda one: (one.priority, one.target.to_text().lower(), one.port))
        hosts = list(dict.fromkeys(one.target.to_text() for one in records))
        answers = await asyncio.gather(
            *(self._addresses(resolver, host) for host in hosts), return_exceptions=True
        )
        places: dict[str, tuple[str, ...]] = {}
        for host, answer in zip(hosts, answers, strict=True):
            if isinstance(answer, LookupFailedError):
                continue  # one target without an address does not take the others away
            if isinstance(answer, BaseException):
                raise answer
            places[host], host_ttl = answer
            ttl = min(ttl, host_ttl)
        found = []
        for one in records:
            host = one.target.to_text()
            identity = host_and_port(host.rstrip(".").lower(), str(one.port))
            known = before.get(identity)
            if host in places or known is not None:
                now = places.get(host) or known.places  # type: ignore[union-attr]
                found.append(Found(identity, now, one.priority, one.weight))
        if not found:
            raise LookupFailedError("no target has an address")
        return Answer(tuple(found), ttl)

    async def _addresses(self, resolver: Any, host: str) -> tuple[tuple[str, ...], float]:
        kinds = ("A", "AAAA") if self._settings.ipv6 else ("A",)
        answers = await asyncio.gather(*(self._records(resolver, host, kind) for kind in kinds))
        places = [record.address for records, _ in answers for record in records]
        if not places:
            raise LookupFailedError("it has no address")
        ttl = min(ttl for records, ttl in answers if records)
        places.sort(key=lambda place: (":" in place, int(ipaddress.ip_address(place))))
        return tuple(places), ttl

    async def _records(self, resolver: Any, name: str, kind: str) -> tuple[list[Any], float]:
        import dns.exception
        import dns.resolver

        try:
            answer = await resolver.resolve(
                name, kind, search=True, raise_on_no_answer=kind == "SRV"
            )
        except dns.resolver.NXDOMAIN:
            raise LookupFailedError("there is no such name") from None
        except dns.resolver.NoAnswer:
            raise LookupFailedError("it has no SRV records") from None
        except (dns.exception.DNSException, OSError) as error:
            raise LookupFailedError(str(error)) from None
        if answer.rrset is None:
            return [], 0.0
        records = [one for one in answer.rrset if kind != "SRV" or one.target.to_text() != "."]
        return records, float(answer.chaining_result.minimum_ttl)


def _host_and_port(text: str) -> tuple[str, int]:
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, int(port[1:] or _PORT)
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, int(port)
    return text, _PORT
