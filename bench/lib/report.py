"""The Markdown of a run: headline table, targets, details. Pure."""

from __future__ import annotations

from bench.lib import procs, stats
from bench.lib.result import Results, Row, Sample
from bench.lib.table import markdown
from bench.lib.targets import TARGETS

MEBI = 1 << 20
NOISY = 0.1
"""The share of the proxy's core that others may take before a figure is marked."""


def report(results: Results, plot: str) -> str:
    """The whole text; ``plot``: the file name of the picture, empty if there is none."""
    problems = results.problems()
    parts = ["# What each proxy costs\n"]
    if problems:
        parts.append(
            f"**INVALID: {len(problems)} problems, listed below. Those figures are left out.**\n"
        )
    count = len(results.rounds)
    spread = f"Median of {count} rounds (least-greatest)" if count > 1 else "One round"
    parts.append(
        f"{spread}; a ratio is taken within a round. Only ratios carry over to another machine.\n"
    )
    if plot:
        parts.append(f"![CPU relative to nginx]({plot})\n")
    parts += [_headline(results), _targets(results), "## Details\n"]
    parts += [_details(results, row) for row in results.rows]
    if problems:
        parts.append("## Problems\n\n" + "".join(f"- {problem}\n" for problem in problems))
    parts.append(
        "## How\n\n"
        + "".join(f"- {fact}\n" for fact in results.facts)
        + "".join(f"- {note}\n" for note in results.notes)
        + f"- {_checked(results)} answers were compared byte by byte\n- CPU, {procs.CPU_SOURCE}\n"
    )
    return "\n".join(parts)


def _headline(results: Results) -> str:
    """One line for each row: the median of every proxy, and its ratio to nginx."""
    proxies = results.proxies()

    def cell(row: Row, proxy: str) -> str:
        cost = results.cost(row.key, proxy)
        if cost is None:
            return _missing(results.samples(row.key, proxy))
        text = f"{cost.median:.{stats.digits(cost.median)}f}"
        ratio = results.ratio(row.key, proxy, "nginx") if row.relative else None
        if ratio is not None and proxy != "nginx":
            text += f" ({ratio.median:.2f}x)"
        return text + ("*" if _noisy(results.samples(row.key, proxy)) else "")

    rows = [
        [row.key, row.title, row.unit, *(cell(row, proxy) for proxy in proxies)]
        for row in results.rows
    ]
    table = markdown(["", "workload", "unit", *proxies], rows, left=3)
    if any("*" in cell for line in rows for cell in line[3:]):
        share = round(NOISY * 100)
        table += f"\n`*`: in some round other programs took over {share} % of the proxy's core.\n"
    return table


def _targets(results: Results) -> str:
    lines = []
    for target in TARGETS:
        if not results.samples(target.row, "synproxy"):
            continue
        figure = target.figure(results)
        if figure is None:
            absent = _missing(results.samples(target.row, "synproxy"))
            verdict = ["not measured" if absent == "-" else absent, "-"]
        else:
            verdict = [figure.text(2), "met" if target.met(figure) else "MISSED"]
        lines.append([target.row, target.text(), *verdict])
    if not lines:
        return ""
    return "## Targets for synproxy\n\n" + markdown(["", "target", "reached", ""], lines, left=2)


def _details(results: Results, row: Row) -> str:
    header = ["proxy", row.unit, "x nginx", "user", "system", "requests/s", "p50 ms", "p99 ms"]
    header += ["PSS MiB", "core taken by others"]
    lines = []
    for proxy in results.proxies():
        samples = results.samples(row.key, proxy)
        cost = results.cost(row.key, proxy)
        if cost is None:
            lines.append([proxy, _missing(samples), *["-"] * (len(header) - 2)])
            continue
        ratio = results.ratio(row.key, proxy, "nginx") if row.relative else None
        users = [one.user for one in samples]
        systems = [
            None if one.user is None or one.cost is None else one.cost - one.user for one in samples
        ]
        foreign = [None if one.foreign is None else one.foreign * 100 for one in samples]
        memory = [None if one.memory is None else one.memory / MEBI for one in samples]
        lines.append(
            [
                proxy,
                cost.text(stats.digits(cost.median)),
                ratio.text(2) if ratio else "-",
                _text(users),
                _text(systems),
                _text([one.rate for one in samples]),
                _text([one.p50 for one in samples]),
                _text([one.p99 for one in samples]),
                _text(memory),
                f"{_text(foreign)} %" if None not in foreign else "-",
            ]
        )
    # A column that nobody fills says nothing.
    used = [column for column in range(len(header)) if any(line[column] != "-" for line in lines)]
    lines = [[line[column] for column in used] for line in lines]
    table = markdown([header[column] for column in used], lines)
    return f"### {row.key}: {row.title}\n\n{table}"


def _text(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return "-"
    found = stats.spread(known)
    return found.text(stats.digits(found.median))


def _missing(samples: list[Sample]) -> str:
    if any(one.problems for one in samples):
        return "INVALID"
    return next((one.absent for one in samples if one.absent), "-")


def _noisy(samples: list[Sample]) -> bool:
    return any(one.foreign is not None and one.foreign > NOISY for one in samples)


def _checked(results: Results) -> int:
    return sum(one.checked for samples in results.rounds for one in samples)
