"""The names in pools, kept fresh: each is looked up again when its answer has become old.

The last good answer holds while name servers fail. One task for each name, in each process; a
change is told once. Must not know what becomes of the answers.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from synproxy.core.names import names_of
from synproxy.upstream.dns import Lookup, LookupFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from synproxy.config.model import Config, Resolver
    from synproxy.core.names import Found, Known

_log = logging.getLogger("synproxy.upstream")

_RETRY: Final = 5.0
"""Seconds after a failure until the name is asked for again."""
_SHORTEST: Final = 1.0
"""Seconds that an answer is kept at least: a TTL of 0 must not become a stream of questions."""
_LONGEST: Final = 3600.0


class Names:
    """Those of one process. ``changed`` is called after each change of :attr:`known`."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._known: dict[str, tuple[Found, ...]] = {}
        self._settings: Resolver | None = None
        self._keeping: dict[str, asyncio.Task[None]] = {}
        self._failing: set[str] = set()

    @property
    def known(self) -> Known:
        """The last good answers."""
        return self._known

    async def learn(self, config: Config) -> None:
        """Look up what is not known yet, once; what fails stays unknown."""
        unknown = [name for name in names_of(config) if name not in self._known]
        lookup = Lookup(config.resolver)
        if unknown:
            asking = [asyncio.ensure_future(self._ask(lookup, name)) for name in unknown]
            _, late = await asyncio.wait(asking, timeout=config.resolver.timeout)
            for task in late:
                task.cancel()

    def follow(self, config: Config) -> None:
        """From now on, keep the names of this configuration fresh, and forget others."""
        names = names_of(config)
        other = config.resolver != self._settings
        self._settings = config.resolver
        for name in list(self._keeping):
            if other or name not in names:
                self._keeping.pop(name).cancel()
            if name not in names:
                self._known.pop(name, None)
                self._failing.discard(name)
        for name in names:
            if name not in self._keeping:
                self._keeping[name] = asyncio.ensure_future(self._keep(name, config.resolver))

    def close(self) -> None:
        """Ask no more."""
        for task in self._keeping.values():
            task.cancel()
        self._keeping.clear()

    async def _keep(self, name: str, settings: Resolver) -> None:
        lookup = Lookup(settings)
        while True:
            before = self._known.get(name)
            ttl = await self._ask(lookup, name)
            if self._known.get(name) != before:
                self._tell(name, before or (), self._known[name])
            if ttl is None:
                await asyncio.sleep(min(_RETRY, settings.valid or _RETRY))
            else:
                await asyncio.sleep(settings.valid or min(max(ttl, _SHORTEST), _LONGEST))

    async def _ask(self, lookup: Lookup, name: str) -> float | None:
        """Note the answer, and give its TTL; None: there was none."""
        try:
            answer = await lookup.ask(name, self._known.get(name, ()))
        except LookupFailedError as error:
            if name not in self._failing:
                self._failing.add(name)
                holds = "the last answer holds" if name in self._known else "it is not known yet"
                _log.warning("the name %s cannot be resolved: %s; %s", name, error, holds)
            return None
        if name in self._failing:
            self._failing.discard(name)
            _log.info("the name %s can be resolved again", name)
        self._known[name] = answer.found
        return answer.ttl

    def _tell(self, name: str, before: Iterable[Found], now: Iterable[Found]) -> None:
        old, new = {one.address for one in before}, {one.address for one in now}
        come, gone = ", ".join(sorted(new - old)), ", ".join(sorted(old - new))
        _log.info(
            "the name %s has changed%s%s",
            *(name, f"; new: {come}" if come else "", f"; gone: {gone}" if gone else ""),
        )
        self._changed()
