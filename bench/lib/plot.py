"""A picture of a run: what each proxy costs relative to nginx, a line for each row.

On an opaque ground, so that it can be read on light and on dark pages.
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from bench.lib.result import Results, Row
from bench.lib.stats import Spread
from bench.lib.targets import OURS, TARGETS

INK, FAINT, GROUND = "#1f2328", "#8b949e", "#ffffff"
# Okabe and Ito's colours, which people with any kind of colour vision can tell apart.
STYLES = {
    "nginx": (INK, "|"),
    "haproxy": ("#0072b2", "s"),
    "caddy": ("#009e73", "^"),
    "aiohttp": ("#cc79a7", "D"),
    OURS: ("#d55e00", "o"),
}
OTHER = (FAINT, "v")
TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
WIDTH, LINE, ABOVE, BELOW = 11.0, 0.34, 0.95, 0.35  # inches


def ratios(results: Results, row: Row) -> dict[str, Spread]:
    """Every proxy that has a figure in this row, relative to nginx."""
    found = {}
    for proxy in results.proxies() if row.relative else []:
        ratio = results.ratio(row.key, proxy, "nginx")
        if ratio is not None and ratio.least > 0:
            found[proxy] = ratio
    return found


def draw(results: Results, files: list[Path]) -> bool:
    """Writes the picture to every file, in the format of its name; False: nothing to show."""
    lines = [(row, found) for row in results.rows if len(found := ratios(results, row)) > 1]
    if not lines:
        return False
    height = ABOVE + LINE * len(lines) + BELOW
    figure = Figure(figsize=(WIDTH, height), facecolor=GROUND)
    figure.subplots_adjust(left=0.42, right=0.93, top=1 - ABOVE / height, bottom=BELOW / height)
    axes = figure.add_subplot()
    _scale(axes, lines)
    for place, (row, found) in enumerate(lines):
        _line(axes, place, row, found)
        if absent := next((one.absent for one in results.samples(row.key, OURS)), ""):
            _text(axes, 1.02, place, absent, FAINT)
    _explain(figure, axes, lines)
    for file in files:
        figure.savefig(file, dpi=150)
    return True


def _scale(axes: Axes, lines: list[tuple[Row, dict[str, Spread]]]) -> None:
    every = [ratio for _, found in lines for ratio in found.values()]
    limits = [target.limit for target in TARGETS if target.to == "nginx"]
    axes.set_xscale("log")
    axes.set_xlim(
        min(0.7, *(ratio.least for ratio in every), *limits) / 1.15,
        max(2.0, *(ratio.greatest for ratio in every)) * 1.15,
    )
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    axes.set_yticks([])
    axes.tick_params(length=0, colors=INK)
    axes.grid(axis="x", color=FAINT, alpha=0.25, linewidth=0.8)
    axes.axvline(1, color=INK, linewidth=1.2)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.set_facecolor(GROUND)


def _line(axes: Axes, place: int, row: Row, found: dict[str, Spread]) -> None:
    if place % 2 == 0:
        axes.axhspan(place - 0.5, place + 0.5, color=FAINT, alpha=0.08, linewidth=0)
    _text(axes, -0.80, place, row.key)
    _text(axes, -0.58, place, f"{row.title}, {row.unit}")
    for target in TARGETS:
        if target.row == row.key and target.to == "nginx":
            ends = (place - 0.32, place + 0.32)
            axes.plot([target.limit] * 2, ends, color=STYLES[OURS][0], linewidth=2.5, alpha=0.4)
    for proxy, ratio in found.items():
        if proxy == "nginx":
            continue
        colour, marker = STYLES.get(proxy, OTHER)
        size, order = (9, 5) if proxy == OURS else (6, 4)
        ends = (ratio.least, ratio.greatest)
        axes.plot(ends, [place] * 2, color=colour, linewidth=2, alpha=0.6, zorder=3)
        axes.plot(ratio.median, place, marker, color=colour, markersize=size, zorder=order)
    if OURS in found:
        _text(axes, 1.02, place, f"{found[OURS].median:.2f}x", STYLES[OURS][0], "bold")


def _text(
    axes: Axes, x: float, place: float, text: str, colour: str = INK, weight: str = "normal"
) -> None:
    """Beside a line; ``x`` in widths of the axes."""
    axes.annotate(
        text,
        (x, place),
        xycoords=("axes fraction", "data"),
        va="center",
        color=colour,
        fontweight=weight,
        fontsize=9.5,
        annotation_clip=False,
    )


def _explain(figure: Figure, axes: Axes, lines: list[tuple[Row, dict[str, Spread]]]) -> None:
    """Title and legend."""
    height = figure.get_figheight()
    figure.text(
        *(0.012, 1 - 0.3 / height, "Cost relative to nginx in the same run; left is cheaper"),
        fontsize=13,
        fontweight="bold",
        color=INK,
    )
    for proxy in dict.fromkeys(proxy for _, found in lines for proxy in found if proxy != "nginx"):
        colour, marker = STYLES.get(proxy, OTHER)
        axes.plot([], [], marker, color=colour, label=proxy)
    axes.plot([], [], color=INK, linewidth=1.2, label="nginx")
    axes.plot([], [], color=STYLES[OURS][0], linewidth=2.5, alpha=0.4, label=f"{OURS}'s target")
    figure.legend(
        loc="upper left",
        bbox_to_anchor=(0.005, 1 - 0.42 / height),
        ncols=len(STYLES) + 3,
        frameon=False,
        labelcolor=INK,
        fontsize=10,
        handletextpad=0.4,
        columnspacing=1.6,
    )
