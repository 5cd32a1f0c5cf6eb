"""What a workload is given: a running proxy, the settings, and ways to measure it.

Knows no workload.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.lib import procs
from bench.lib.checker import Checker, control
from bench.lib.load import Clients, Load
from bench.lib.proxies import Proxy
from bench.lib.result import Row, Sample
from bench.lib.running import Running, trusting
from bench.lib.setup import PLAIN, Setup


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how much."""

    rounds: int = 3
    seconds: int = 5
    """Of load, after ``warm_up`` seconds."""
    warm_up: int = 1
    transfers: int = 60
    """Media of 10 MB in each direction."""
    exchanges: int = 3000
    """For latencies: requests one after the other."""
    proxy_cores: tuple[int, ...] = (1,)
    load_cores: tuple[int, ...] = (0,)
    log: bool = False
    """Whether every proxy writes its access log."""


FULL = Settings()
QUICK = Settings(rounds=1, seconds=1, transfers=6, exchanges=300)


@dataclass(frozen=True)
class Stage:
    """A proxy that forwards to the stand-in."""

    proxy: Proxy
    setup: Setup
    settings: Settings
    directory: Path
    running: Running

    @property
    def port(self) -> int:
        return self.running.port

    @property
    def url(self) -> str:
        return f"{'https' if self.setup.tls else 'http'}://127.0.0.1:{self.port}"

    @cached_property
    def context(self) -> ssl.SSLContext | None:
        return trusting(self.directory) if self.setup.tls else None

    @cached_property
    def clients(self) -> Clients:
        return Clients(self.settings.load_cores)

    def checker(self, *, sizes: Sequence[int] = (), sends: bool = False) -> Checker:
        return Checker(
            self.port,
            context=self.context,
            sizes=sizes,
            sends=sends,
            forwards_headers=self.proxy.forwards_headers,
        )

    def under_load(
        self, row: str, load: Callable[[int], Load], checker: Checker, in_flight: int = 16
    ) -> Sample:
        """CPU per request while ``load`` runs for the seconds it is given.

        The stand-in must have seen as many requests as were answered: the difference is at most
        what is ``in_flight`` when the load ends.
        """
        load(self.settings.warm_up)
        books = control(self.directory)
        meter = Meter(self.running.pids(), self.settings)
        with checker:
            result = load(self.settings.seconds)
            used, foreign = meter.read()
        memory = procs.memory(self.running.pids())
        after = control(self.directory)
        answered = result.requests + checker.checked
        problems = [*result.problems, *dict.fromkeys(checker.problems)]
        seen = after["requests"] - books["requests"] - 1  # control's own
        if abs(seen - answered) > 2 * in_flight + 10:
            problems.append(f"{answered} answers, but the workers saw {seen} requests")
        if bad := after["bad_bodies"] - books["bad_bodies"]:
            problems.append(f"{bad} request bodies arrived damaged")
        if not result.requests:
            problems.append("no request was answered")
        scale = 1e6 / max(answered, 1)
        return Sample(
            row,
            self.proxy.name,
            used.total * scale,
            user=used.user * scale,
            rate=result.requests / result.seconds,
            p50=result.p50,
            p99=result.p99,
            memory=memory.pss,
            foreign=foreign,
            checked=checker.checked,
            problems=tuple(problems),
        )


class Meter:
    """The CPU time of some processes from now on, and what others take of their cores."""

    def __init__(self, pids: list[int], settings: Settings) -> None:
        self._pids = pids
        self._cores = settings.proxy_cores
        self._alone = not set(settings.proxy_cores) & set(settings.load_cores)
        self._cpu = procs.cpu(pids)
        self._busy = procs.busy(self._cores)

    def read(self) -> tuple[procs.Cpu, float | None]:
        """Seconds used, and the share of the cores' busy time that was not theirs, 0 to 1.

        The share is None when the cores are not the proxy's own.
        """
        used = procs.cpu(self._pids) - self._cpu
        busy = procs.busy(self._cores) - self._busy
        if not self._alone:
            return used, None
        return used, max(0.0, 1 - used.total / busy) if busy else 0.0


@dataclass(frozen=True, slots=True)
class Case:
    """One start of every proxy, and the rows that are measured on it."""

    name: str
    """``a``, ``b/80k``: the workload's letter, and a word when it has several cases."""
    rows: tuple[Row, ...]
    run: Callable[[Stage], list[Sample]]
    setup: Setup = PLAIN
    sizes: tuple[int, ...] = (1024,)
    """Of the answers to syncs; a size named twice comes twice as often."""
    usual: bool = True
    """Whether it runs without being asked for by name."""
    quick: bool = True
    """Whether it also runs, unasked, in a quick run."""
    tools: tuple[tuple[str, str], ...] = (("wrk", "wrk"),)
    """Programs that it needs, and the Debian packages that hold them."""
    synapse: bool = False
    """Whether a real Synapse is behind the proxies, and not the stand-in."""
    all_cores: bool = False
    """Whether the proxy has as many cores as processes, shared with the load if they are few."""
