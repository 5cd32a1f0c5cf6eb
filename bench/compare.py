"""CPU per request of nginx, HAProxy, Caddy, aiohttp and synproxy, in one run on one machine.

Each proxy has one core to itself, the load generator and the stand-in for Synapse share another;
rounds are interleaved. Writes bench/results/compare.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.lib import load, procs, proxies, table

MEBI = 1 << 20


@dataclass(frozen=True, slots=True)
class Round:
    """One proxy, one round. CPU in microseconds per request."""

    cpu: procs.Cpu
    load: load.WrkResult
    memory: procs.Memory
    checked: int
    problems: tuple[str, ...]
    per_connection: float  # requests the workers saw on one connection

    @property
    def total(self) -> float:
        return self.cpu.total

    @property
    def rate(self) -> float:
        return self.load.requests / self.load.seconds


def measure(proxy: proxies.Proxy, directory: Path, options: argparse.Namespace) -> Round:
    """Starts the proxy anew, warms it up, and measures it under load."""
    with proxies.running(proxy, directory, options.proxy_core, options.access_log) as running:
        arguments = (options.connections, options.users, options.load_core)
        load.wrk(running.port, options.warm_up, *arguments)
        checker = load.Checker(running.port, proxy.forwards_headers)
        pids = running.pids()
        books_before = load.control(directory)
        cpu_before = procs.cpu(pids)
        checker.start()
        result = load.wrk(running.port, options.seconds, *arguments)
        used = procs.cpu(pids) - cpu_before
        memory = procs.memory(pids)
        checker.stop()
        books = load.control(directory)
    requests = result.requests + checker.checked
    scale = 1e6 / requests
    problems = [*checker.problems]
    if result.errors:
        problems.append(f"wrk counted {result.errors} errors or non-2xx answers")
    connections = books["connections"] - books_before["connections"] - 1  # control's own
    return Round(
        procs.Cpu(used.user * scale, used.system * scale, used.total * scale),
        result,
        memory,
        checker.checked,
        tuple(problems),
        requests / max(connections, 1),
    )


def report(rounds: dict[str, list[Round]], options: argparse.Namespace) -> str:
    """The whole text of bench/results/compare.md."""

    def ratio(name: str, to: str) -> str:
        if to not in rounds:
            return "-"
        pairs = zip(rounds[name], rounds[to], strict=True)
        return table.spread([one.total / other.total for one, other in pairs], 2)

    def cells(name: str) -> list[str]:
        def of(value: Callable[[Round], float], digits: int = 1) -> str:
            return table.spread([value(one) for one in rounds[name]], digits)

        return [
            name,
            of(lambda one: one.cpu.user),
            of(lambda one: one.cpu.system),
            of(lambda one: one.total),
            ratio(name, "nginx"),
            ratio(name, "caddy"),
            of(lambda one: one.rate, 0),
            f"{statistics.median(one.total * one.rate / 1e4 for one in rounds[name]):.0f}",
            of(lambda one: one.load.p50 / 1000, 2),
            of(lambda one: one.load.p99 / 1000, 2),
            f"{statistics.median(one.memory.rss for one in rounds[name]) / MEBI:.1f}",
            f"{statistics.median(one.memory.pss for one in rounds[name]) / MEBI:.1f}",
            f"{statistics.median(one.per_connection for one in rounds[name]):.0f}",
        ]

    header = [
        *("proxy", "user us", "sys us", "CPU us/request", "x nginx", "x Caddy"),
        *(
            "requests/s",
            "core busy %",
            "p50 ms",
            "p99 ms",
            "RSS MiB",
            "PSS MiB",
            "requests/upstream conn",
        ),
    ]
    checked = sum(one.checked for several in rounds.values() for one in several)
    problems = [
        f"- {name}: {problem}\n"
        for name, several in rounds.items()
        for problem in sorted({problem for one in several for problem in one.problems})
    ]
    verdict = f"{checked} answers were checked byte by byte; "
    verdict += "problems:\n\n" + "".join(problems) if problems else "no wrong one, no error.\n"
    chosen = [proxies.ALL[name] for name in rounds]
    versions = {one.package: list(one.version) for one in chosen if one.version}
    return "".join(
        [
            "# CPU per proxied request\n\n",
            f"`GET /sync`, 13 headers, {options.body_size} bytes of JSON back, ",
            f"{options.connections} keep-alive connections of {options.users} users, ",
            f"{options.rounds} interleaved rounds of {options.seconds} s, ",
            f"access logs {'on' if options.access_log else 'off'}. ",
            "Median (least-greatest); a ratio is taken within a round.\n\n",
            table.markdown(header, [cells(name) for name in rounds]),
            f"\n{verdict}\n",
            f"CPU time, {procs.CPU_SOURCE}.\n\n",
            "".join(f"- {name}: {proxies.ALL[name].about}\n" for name in rounds),
            "\n",
            table.environment(versions, proxies.interpreter()),
        ]
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    names = ",".join(proxies.ALL)
    parser.add_argument("--proxies", default=names, help=f"which to compare (default: {names})")
    parser.add_argument("--only", metavar="NAME", help="one proxy, nothing written: to profile it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of load per round")
    parser.add_argument("--warm-up", type=int, default=1, help="seconds of load before")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--users", type=int, default=4, help="at most as many as connections")
    parser.add_argument("--body-size", type=int, default=1024, help="of an answer, bytes")
    parser.add_argument("--access-log", action="store_true", help="every proxy writes its log")
    parser.add_argument("--proxy-core", type=int, default=1)
    parser.add_argument("--load-core", type=int, default=0)
    parser.add_argument("--output", default="compare.md", help="file name in bench/results")
    parser.add_argument("--install", action="store_true", help="apt-get install what is missing")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    chosen = proxies.named(options.only or options.proxies)
    proxies.require_tools(chosen, ["wrk"], options.install)
    proxies.raise_file_limit()
    rounds: dict[str, list[Round]] = {proxy.name: [] for proxy in chosen}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        with proxies.standin(directory, options.load_core, options.body_size):
            for number in range(options.rounds):
                for proxy in chosen:
                    done = measure(proxy, directory, options)
                    rounds[proxy.name].append(done)
                    sys.stderr.write(
                        f"round {number + 1}: {proxy.name} {done.total:.1f} us/request, "
                        f"{done.rate:.0f}/s {' '.join(done.problems[:3])}\n"
                    )
    text = report(rounds, options)
    if options.only:
        sys.stdout.write(text)
    else:
        table.write(options.output, text)
    if any(one.problems for several in rounds.values() for one in several):
        sys.exit(1)


if __name__ == "__main__":
    main()
