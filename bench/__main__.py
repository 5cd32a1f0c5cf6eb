"""Runs the workloads against every proxy in turn, and writes table and picture.

``python -m bench --help`` lists the options, bench/README.md says what the figures are worth.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench import workloads
from bench.lib import interpreters, machine, procs, proxies, result, running, synapse
from bench.lib.proxies import Proxy
from bench.lib.report import report
from bench.lib.result import Results, Sample
from bench.lib.stage import FULL, QUICK, Case, Settings, Stage

RESULTS = running.BENCH / "results"
LOCAL = RESULTS / "local"
"""Where everything goes that is not a whole run; git ignores it."""


def measure(case: Case, proxy: Proxy, settings: Settings, directory: Path) -> list[Sample]:
    """One proxy, started anew. What goes wrong is in the samples, a row each."""
    if absent := proxy.unable(case.setup):
        return [Sample(row.key, proxy.name, None, absent=absent) for row in case.rows]
    try:
        with running.running(
            proxy, case.setup, directory, settings.proxy_cores, settings.log
        ) as started:
            return case.run(Stage(proxy, case.setup, settings, directory, started))
    except (RuntimeError, OSError, ValueError) as error:
        return _failed(case, proxy, error)


def _failed(case: Case, proxy: Proxy, error: Exception) -> list[Sample]:
    lines = [line for line in str(error).splitlines() if line]
    problem = f"{type(error).__name__}: {' / '.join(lines)}"
    return [Sample(row.key, proxy.name, None, problems=(problem,)) for row in case.rows]


def one_round(
    cases: Sequence[Case], chosen: Sequence[Proxy], settings: Settings, directory: Path
) -> list[Sample]:
    """Every case against every proxy, one after the other."""
    samples: list[Sample] = []
    for case in cases:
        adapted = _cores(case, settings)
        try:
            with procs.pinned(adapted.load_cores), _workers(case, directory, adapted):
                for proxy in chosen:
                    done = measure(case, proxy, adapted, directory)
                    samples += done
                    _tell(done)
        except RuntimeError as error:
            done = [one for proxy in chosen for one in _failed(case, proxy, error)]
            samples += done
            _tell(done)
    return samples


def _workers(
    case: Case, directory: Path, settings: Settings
) -> contextlib.AbstractContextManager[None]:
    """What is behind the proxies."""
    if case.synapse:
        return synapse.synapse(directory, case.setup)
    return running.standin(directory, case.setup, case.sizes, settings.load_cores)


def _cores(case: Case, settings: Settings) -> Settings:
    """The settings for one case: as many cores for the proxy as a comparison of processes needs."""
    if not case.all_cores:
        return settings
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 4:
        return replace(settings, proxy_cores=tuple(cores), load_cores=tuple(cores))
    return replace(settings, proxy_cores=tuple(cores[-2:]), load_cores=tuple(cores[:-2]))


def _tell(samples: Sequence[Sample]) -> None:
    for one in samples:
        figure = one.absent if one.cost is None else f"{one.cost:.4g}"
        problems = "".join(f"\n  INVALID: {problem}" for problem in one.problems)
        sys.stderr.write(f"{one.row:16} {one.proxy:12} {figure}{problems}\n")


def describe(cases: Sequence[Case], chosen: Sequence[Proxy], settings: Settings) -> Results:
    """An empty run that says what it is about to measure."""
    versions = {one.package: list(one.version) for one in chosen if one.version}
    run_by: dict[str, list[str]] = {}
    for one in chosen:
        if one.interpreter:
            run_by.setdefault(interpreters.describe(one.interpreter), []).append(one.name)
    facts = machine.facts(versions, run_by)
    rows = [row for case in cases for row in case.rows]
    notes = [f"{proxy.name}: {proxy.about}" for proxy in chosen]
    log = "on" if settings.log else "off"
    notes.append(
        f"{settings.rounds} rounds of {settings.seconds} s of load after {settings.warm_up} s; "
        f"proxies on core {_list(settings.proxy_cores)}, load and servers on core "
        f"{_list(settings.load_cores)}; access logs {log}"
    )
    if any(case.all_cores for case in cases) and len(os.sched_getaffinity(0)) < 4:
        notes.append("i: with fewer than four cores, proxy, load and servers share all of them")
    return Results(facts, rows, notes=notes)


def _list(cores: Sequence[int]) -> str:
    return ", ".join(str(core) for core in cores)


def write(results: Results, directory: Path) -> None:
    """results.json, cost.svg, cost.png and results.md, which is also shown."""
    from bench.lib import plot  # matplotlib: a second that only the end needs

    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_text(results.dumps())
    drawn = plot.draw(results, [directory / "cost.svg", directory / "cost.png"])
    text = report(results, "cost.svg" if drawn else "")
    (directory / "results.md").write_text(text)
    sys.stdout.write(text)
    sys.stderr.write(f"\nwritten to {directory}\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    names = ", ".join(case.name for case in workloads.CASES)
    parser.add_argument("--only", default="", metavar="A,B", help=f"workloads, of {names}")
    parser.add_argument("--proxies", default=",".join(proxies.USUAL), help=", ".join(proxies.ALL))
    parser.add_argument("--quick", action="store_true", help="one short round: does it all work?")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="of load, per proxy, workload and round")
    parser.add_argument("--access-log", action="store_true", help="every proxy writes its log")
    parser.add_argument("--proxy-core", type=int, help="default: the last one")
    parser.add_argument("--load-core", type=int, help="of load and servers; default: the first one")
    parser.add_argument("--output", type=Path, help="directory for the results")
    parser.add_argument("--render", type=Path, metavar="JSON", help="of a run, measure nothing")
    return parser.parse_args()


def settings_of(options: argparse.Namespace) -> Settings:
    cores = sorted(os.sched_getaffinity(0))
    base = QUICK if options.quick else FULL
    return replace(
        base,
        rounds=options.rounds or base.rounds,
        seconds=options.seconds or base.seconds,
        log=options.access_log,
        proxy_cores=(cores[-1] if options.proxy_core is None else options.proxy_core,),
        load_cores=(cores[0] if options.load_core is None else options.load_core,),
    )


def main() -> None:
    options = arguments()
    if options.render:
        results = result.loads(options.render.read_text())
        write(results, options.output or options.render.parent)
        return
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # Debian's nginx and HAProxy; only root looks there
    settings = settings_of(options)
    chosen = proxies.named(options.proxies)
    try:
        cases = workloads.chosen(options.only, options.quick)
    except ValueError as error:
        sys.exit(str(error))
    proxies.require_tools(chosen, dict(tool for case in cases for tool in case.tools))
    running.raise_file_limit()
    whole = not (options.only or options.quick) and settings.rounds >= FULL.rounds
    results = describe(cases, chosen, settings)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        running.make_certificate(directory)
        for number in range(settings.rounds):
            sys.stderr.write(f"round {number + 1} of {settings.rounds}\n")
            results.rounds.append(one_round(cases, chosen, settings, directory))
    write(results, options.output or (RESULTS if whole else LOCAL))
    if problems := results.problems():
        sys.exit(f"INVALID: {len(problems)} problems, the first: {problems[0]}")


if __name__ == "__main__":
    main()
