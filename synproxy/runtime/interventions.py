"""What operators change while it runs: drained servers, and maintenance.

The supervisor remembers it, over reloads, crashes of children and binary upgrades; a restart
forgets it (``down: on`` and ``maintenance: on`` in the configuration stay). Must not know children.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from synproxy.config.addresses import short_name
from synproxy.config.units import parse_interval
from synproxy.config.wording import did_you_mean
from synproxy.runtime.control import ControlError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synproxy.config.model import Config, Maintenance


@dataclass(frozen=True, slots=True)
class Interventions:
    """All of them; replaced as a whole."""

    drained: tuple[str, ...] = ()
    """Addresses of servers that get no new requests."""
    maintenance: bool = False
    error: str = ""
    """The text for clients; empty: as the configuration says."""
    retry_after: float = 0.0
    """Seconds until clients may come again; 0: as the configuration says."""
    since: float = 0.0
    """When maintenance began, a unix time."""

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        return cls(**{**facts, "drained": tuple(facts["drained"])}) if facts else cls()

    def facts(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self), "drained": list(self.drained)}

    def answer(self, settings: Maintenance) -> Maintenance | None:
        """What clients are told; None: there is no maintenance."""
        if not self.maintenance:
            return None
        told = {"error": self.error, "retry_after": self.retry_after}
        return settings.model_copy(update={name: one for name, one in told.items() if one})

    def with_drained(self, address: str) -> Interventions:
        return replace(self, drained=tuple(dict.fromkeys((*self.drained, address))))

    def without_drained(self, address: str) -> Interventions:
        return replace(self, drained=tuple(one for one in self.drained if one != address))

    def with_maintenance(self, arguments: Mapping[str, Any]) -> Interventions:
        """``on``, and with it ``error`` and ``retry_after``, a duration such as ``10m``.

        :raises ControlError: what is wrong with them.
        """
        on, error = arguments.get("on"), arguments.get("error") or ""
        if not isinstance(on, bool) or not isinstance(error, str):
            raise ControlError('expected "on": true or false, and "error" as a text')
        if not on:
            return replace(self, maintenance=False, error="", retry_after=0.0, since=0.0)
        try:
            written = arguments.get("retry_after")
            retry_after = parse_interval(written) if written is not None else 0.0
        except ValueError as wrong:
            raise ControlError(f"retry_after: {wrong}") from None
        since = self.since if self.maintenance else time.time()
        return replace(self, maintenance=True, error=error, retry_after=retry_after, since=since)


def server_called(name: str, config: Config, others: tuple[str, ...] = ()) -> str:
    """The address of the server that is called by its address, or by its short name
    (``inbound_login`` for ``unix:/run/matrix-synapse/inbound_login.sock``). ``others``: addresses
    that are good, too.

    :raises ControlError: there is none, or there are several.
    """
    known = dict.fromkeys(
        (*(server.address for pool in config.pools.values() for server in pool.servers), *others)
    )
    if name in known:
        return name
    found = [address for address in known if short_name(address) == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise ControlError(f"{name} may be {' or '.join(found)}")
    names = [short_name(address) for address in known]
    hint = did_you_mean(name, names) or f"there are {', '.join(dict.fromkeys(names))}"
    raise ControlError(f"there is no server {name}; {hint}")


def left_without(config: Config, drained: tuple[str, ...]) -> list[str]:
    """Pools all of whose servers are drained or marked down."""
    return [
        name
        for name, pool in config.pools.items()
        if all(server.down or server.address in drained for server in pool.servers)
    ]
