"""A running synproxy under mixed load and random faults, round after round.

Between two rounds nobody asks anything, and what each child then holds is written down. ``make
soak`` runs it for half an hour, tests/soak/test_soak.py for half a minute.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import ssl
from collections.abc import Callable, Coroutine, Set
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from synproxy.runtime.control import ControlError
from tests.process.endurance import end_all
from tests.soak.clients import Crowd
from tests.soak.ledger import Ledger
from tests.soak.resources import Holding, control, holdings, quiet
from tests.soak.workers import Worker
from tests.support.certificates import make_certificate
from tests.support.process import free_port
from tests.support.synproxy import Synproxy

CHILDREN: Final = 2
CONFIG: Final = """\
listeners:
  - {listen: "127.0.0.1:@PORT@", backlog: 1024, http2: on}
  - listen: "127.0.0.1:@TLS@"
    backlog: 1024
    http2: on
    tls: {certificates: [{certificate: @RUN@/edge.pem, key: @RUN@/edge.key}]}
access_log: @RUN@/access.log
children: 2
control_socket: @RUN@/control.sock
pid: @RUN@/synproxy.pid
http: {client_max_body_size: 50m, gzip: {enabled: on, types: [application/json]}}
proxy: {read_timeout: 3, connect_timeout: 2}
pools:
  sync:
    servers: ["unix:@RUN@/sync0.sock", "unix:@RUN@/sync1.sock"]
    restart_hold: 5
    keepalive_timeout: 1
  main: {servers: ["unix:@RUN@/main0.sock"], keepalive_timeout: 1, restart_hold: 5}
  media:
    servers: ["unix:@RUN@/media0.sock", "unix:@RUN@/media1.sock"]
    keepalive_timeout: 1
routes:
  - {name: sync, location: /sync, pool: sync}
  - {name: media, location: /media, pool: media}
  - {name: rest, location: /, pool: main}
"""
_POOLS: Final = (("sync", 2), ("main", 1), ("media", 2))
_SILENCE: Final = 4.0
"""Seconds for which a worker says nothing: more than ``read_timeout``."""
_SETTLE: Final = 120.0


@dataclass
class Plan:
    """How much. Seconds; ``calm``: how many rounds at the end kill no child, so that what these
    hold can be compared from round to round."""

    seed: int
    rounds: int
    seconds: float
    people: int = 2
    calm: int = 1
    pause: tuple[float, float] = (0.5, 3.0)


@dataclass
class Round:
    """What one was like, and what was left after it."""

    number: int
    requests: int
    failures: int
    holdings: list[Holding]


@dataclass
class Result:
    ledger: Ledger
    start: list[Holding]
    rounds: list[Round] = field(default_factory=list)


class Soak:
    """One run."""

    def __init__(self, directory: Path, plan: Plan, say: Callable[[str], None]) -> None:
        self._directory = directory
        self._plan = plan
        self._say = say
        self._chance = random.Random(plan.seed)
        self._ledger = Ledger()
        self._control = directory / "control.sock"
        self._workers = [
            Worker(directory / f"{pool}{number}.sock", pool, self._ledger, self._chance)
            for pool, count in _POOLS
            for number in range(count)
        ]
        self._deck: list[Callable[[], Coroutine[Any, Any, None]]] = []
        """What comes next: each fault once before any comes again."""
        self._upgrades = asyncio.Lock()
        self._crashes = asyncio.Lock()
        self._busy: set[Worker] = set()
        """To which something is done now."""

    async def run(self) -> Result:
        """All rounds; what must hold is for the caller to judge."""
        plan = self._plan
        self._say(f"seed {plan.seed}")
        for worker in self._workers:
            await worker.start()
        certificate, _ = make_certificate(self._directory, "edge", "127.0.0.1")
        contexts = {}
        for protocol in ("http/1.1", "h2"):
            contexts[protocol] = ssl.create_default_context(cafile=str(certificate))
            contexts[protocol].set_alpn_protocols([protocol])
        tls = free_port()
        proxy = Synproxy(self._directory, CONFIG, {"@TLS@": str(tls)})
        await asyncio.to_thread(proxy.start)
        crowd = Crowd(proxy.port, (tls, contexts), self._ledger, self._chance)
        try:
            await self._children()
            # What is loaded lazily and remembered on purpose is there after a first round.
            crowd.start(plan.people)
            await asyncio.sleep(min(5.0, plan.seconds / 2))
            await crowd.stop()
            result = Result(self._ledger, await quiet(self._control, CHILDREN, _SETTLE))
            for number in range(1, plan.rounds + 1):
                result.rounds.append(await self._round(number, crowd))
        finally:
            await end_all(proxy)
            for worker in self._workers:
                await worker.kill()
        return result

    async def _round(self, number: int, crowd: Crowd) -> Round:
        plan, ledger = self._plan, self._ledger
        calm = number > plan.rounds - plan.calm
        before, failed = ledger.total, ledger.failures.total()
        loop = asyncio.get_running_loop()
        crowd.start(plan.people)
        end = loop.time() + plan.seconds
        lasting: list[asyncio.Task[None]] = []
        while (left := end - loop.time()) > 0:
            await asyncio.sleep(min(left, self._chance.uniform(*plan.pause)))
            if calm:
                new = (self._kill_child, self._upgrade)
                self._deck = [fault for fault in self._deck if fault not in new]
            lasting.append(asyncio.create_task(self._fault(calm)))
        await asyncio.gather(*lasting)
        await crowd.stop()
        left_over = await quiet(self._control, CHILDREN, _SETTLE)
        told = Round(number, ledger.total - before, ledger.failures.total() - failed, left_over)
        self._say(f"round {number}: {told.requests} requests, {told.failures} failed")
        return told

    # --- faults

    async def _fault(self, calm: bool) -> None:
        if not self._deck:
            self._deck = [self._reload, self._kill_worker, self._replace, self._silence]
            self._deck += [self._reload] if calm else [self._kill_child, self._upgrade]
            self._chance.shuffle(self._deck)
        await self._deck.pop()()

    def _any_worker(self) -> Worker | None:
        free = [one for one in self._workers if one not in self._busy]
        return self._chance.choice(free) if free else None

    async def _reload(self) -> None:
        async with self._upgrades:  # who is replaced says that it ends
            begun = asyncio.get_running_loop().time()
            try:
                await control(self._control, "reload")
                self._ledger.done["reload"] += 1
            except ControlError as error:  # then nothing has changed
                if not self._ledger.explained_by("child killed", begun):
                    self._ledger.unexplained.append(f"reload: {error}")
                    return
                self._ledger.done["reload that failed for a killed child"] += 1
                async with self._crashes:  # and works once there is another child
                    await control(self._control, "reload")
                    self._ledger.done["reload"] += 1

    async def _kill_worker(self) -> None:
        worker = self._any_worker()
        if worker is None:
            return
        self._busy.add(worker)
        fault = self._ledger.begin("worker killed", worker.pool)
        await worker.kill()
        await asyncio.sleep(self._chance.uniform(0.2, 1.5))
        await worker.start()
        self._ledger.end(fault)
        self._busy.discard(worker)

    async def _replace(self) -> None:
        worker = self._any_worker()
        if worker is None:
            return
        self._busy.add(worker)
        await worker.start()
        self._ledger.done["socket replaced"] += 1
        self._busy.discard(worker)

    async def _silence(self) -> None:
        worker = self._any_worker()
        if worker is None:
            return
        self._busy.add(worker)
        fault = self._ledger.begin("silent worker", worker.pool)
        worker.fall_silent()
        await asyncio.sleep(_SILENCE)
        worker.speak()
        self._ledger.end(fault)
        self._busy.discard(worker)

    async def _upgrade(self) -> None:
        """Another program with other children takes over."""
        async with self._upgrades, self._crashes:
            before = {one.pid for one in await self._children()}
            await control(self._control, "upgrade")
            await self._children(without=before)
            self._ledger.done["binary upgrade"] += 1

    async def _kill_child(self) -> None:
        async with self._crashes:  # one after the other: a child is always left
            await self._kill_one()

    async def _kill_one(self) -> None:
        victim = self._chance.choice(await self._children()).pid
        fault = self._ledger.begin("child killed")
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        await self._children(without={victim})
        self._ledger.end(fault)

    async def _children(self, without: Set[int] = frozenset()) -> list[Holding]:
        """All of them, once they are all there: during a reload those that leave may not answer."""
        state: list[Holding] = []
        try:
            async with asyncio.timeout(_SETTLE):
                while True:
                    with suppress(OSError, ControlError):  # a child is gone, or not there yet
                        state = await holdings(self._control)
                        if len(state) == CHILDREN and without.isdisjoint(c.pid for c in state):
                            return state
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise TimeoutError(f"not {CHILDREN} children without {without}: {state}") from None
