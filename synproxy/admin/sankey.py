"""The picture of where requests go: routes, pools and servers, joined by bands as wide as traffic.

Pure: from an overview to SVG, without scripts or styles of its own. Must not know the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from synproxy.admin.html import Html, el

WIDTH: Final = 1000
_BAR: Final = 9
_COLUMNS: Final = (220, 490, 790)
"""Left edges of the bars: routes, pools, servers. Routes have their names left of them."""
_LINE: Final = 17
"""The least height of a node: that of its name."""
_GAP: Final = 7
_TRAFFIC: Final = 190
"""The height of all traffic together."""
_HAIR: Final = 1.0
"""The width of a band that nothing flows in, but could."""
_MOST: Final = 14
"""Routes that are drawn; what has less traffic is drawn as one."""

_FEW: Final = 12
"""Rates that a small chart has room for at least."""

HERE: Final = ""
"""The pool of what synproxy answers itself."""


@dataclass
class _Node:
    label: str
    title: str
    kind: str
    amount: float = 0.0
    top: float = 0.0
    height: float = 0.0
    used: dict[str, float] = field(default_factory=dict)

    def band(self, side: str, width: float, all_: float) -> float:
        """Where the next band on a side begins; all of them are ``all_`` wide."""
        start = self.used.setdefault(side, self.top + (self.height - all_) / 2)
        self.used[side] = start + width
        return start


def sankey(overview: Mapping[str, Any]) -> Html:
    """The picture, for people who see it; a table beside it is for the others."""
    routes, pools, servers, links = _graph(overview)
    columns = (list(routes.values()), list(pools.values()), list(servers.values()))
    amount = max(sum(node.amount for node in column) for column in columns)
    scale = _TRAFFIC / amount if amount else 0.0
    height = max(_heights(column, scale) for column in columns)
    for column in columns:
        _place(column, scale, height)
    drawn = _draw_links(links, scale)
    return el(
        "svg",
        el("title", "Where requests go: routes, pools, servers"),
        el("g", *drawn, class_="bands"),
        *(
            _draw(node, x, left=number == 0)
            for number, (x, column) in enumerate(zip(_COLUMNS, columns, strict=True))
            for node in column
        ),
        viewBox=f"0 0 {WIDTH} {height:.0f}",
        role="img",
        class_="sankey",
    )


Links = list[tuple[_Node, _Node, float]]
Nodes = dict[Any, _Node]


def _graph(overview: Mapping[str, Any]) -> tuple[Nodes, Nodes, Nodes, Links]:
    pools: Nodes = {
        pool["name"]: _Node(pool["name"], pool["balance"], "pool") for pool in overview["pools"]
    }
    routes: Nodes = {}
    servers: Nodes = {}
    links: Links = []
    busiest = sorted(overview["routes"], key=lambda route: -route["rate"])
    drawn = {route["name"] for route in busiest[:_MOST]}
    if len(busiest) == _MOST + 1:
        drawn.add(busiest[_MOST]["name"])
    flows: dict[tuple[str, str], float] = {}
    for route in overview["routes"]:
        for pool in route["pools"]:
            flows.setdefault((route["name"], pool), 0.0)
    for flow in overview["flows"]:
        flows[flow["route"], flow["pool"]] = flow["rate"]
    merged: dict[tuple[str, str], float] = {}
    for (route, pool), rate in flows.items():
        name = route if route in drawn else None
        merged[name, pool] = merged.get((name, pool), 0.0) + rate  # type: ignore[index, arg-type]
    for name in [*(r["name"] for r in overview["routes"] if r["name"] in drawn), None]:
        mine = {pool: rate for (route, pool), rate in merged.items() if route == name}
        if not mine:
            continue
        left = len(overview["routes"]) - len(drawn)
        label = f"{left} other routes" if name is None else name or "(no route)"
        node = routes[name] = _Node(label, label, "route", sum(mine.values()))
        for pool, rate in mine.items():
            if pool not in pools:
                title = "answered here" if pool == HERE else "no pool any more"
                pools[pool] = _Node("synproxy itself" if pool == HERE else pool, title, "here")
            pools[pool].amount += rate
            links.append((node, pools[pool], rate))
    pools = _by_order(pools, links)
    by_name = {pool["name"]: pool for pool in overview["pools"]}
    for pool in (by_name[name] for name in pools if name in by_name):
        for server in pool["servers"]:
            known = servers.setdefault(
                server["address"],
                _Node(server["name"], server["address"], f"server {server['state']}"),
            )
            known.amount += server["rate"]
            links.append((pools[pool["name"]], known, server["rate"]))
    return routes, pools, servers, links


def _by_order(pools: Nodes, links: Links) -> Nodes:
    """Pools in the order of what comes to them, so that few bands cross."""
    first: dict[int, int] = {}
    for number, (_, node, _) in enumerate(links):
        first.setdefault(id(node), number)
    return dict(sorted(pools.items(), key=lambda item: first.get(id(item[1]), len(links))))


def _heights(column: list[_Node], scale: float) -> float:
    total = 0.0
    for node in column:
        node.height = max(_LINE, node.amount * scale)
        total += node.height + _GAP
    return total


def _place(column: list[_Node], scale: float, height: float) -> None:
    free = height - sum(node.height for node in column)
    gap = min(free / max(len(column), 1), 40)
    top = (height - sum(node.height for node in column) - gap * (len(column) - 1)) / 2
    for node in column:
        node.top = top
        top += node.height + gap


def _width(rate: float, scale: float) -> float:
    return max(rate * scale, _HAIR)


def _draw_links(links: Links, scale: float) -> list[Html]:
    out: dict[int, float] = {}
    into: dict[int, float] = {}
    for source, target, rate in links:
        out[id(source)] = out.get(id(source), 0.0) + _width(rate, scale)
        into[id(target)] = into.get(id(target), 0.0) + _width(rate, scale)
    column = {"route": 0, "pool": 1, "here": 1}
    drawn = []
    for source, target, rate in sorted(
        links, key=lambda link: (column.get(link[0].kind, 2), link[0].top, link[1].top)
    ):
        width = _width(rate, scale)
        y1 = source.band("out", width, out[id(source)]) + width / 2
        y2 = target.band("in", width, into[id(target)]) + width / 2
        x1 = _COLUMNS[column[source.kind]] + _BAR
        x2 = _COLUMNS[column[source.kind] + 1]
        middle = (x1 + x2) / 2
        drawn.append(
            el(
                "path",
                el("title", f"{source.label} to {target.label}: {rate:g} requests/s"),
                d=f"M{x1},{y1:.1f}C{middle:g},{y1:.1f} {middle:g},{y2:.1f} {x2},{y2:.1f}",
                stroke_width=f"{width:.1f}",
                class_="flows" if rate else "idle",
            )
        )
    return drawn


def _draw(node: _Node, x: int, *, left: bool) -> Html:
    middle = node.top + node.height / 2
    kind = node.kind.split()
    state = f" ({kind[1]})" if len(kind) > 1 and kind[1] != "up" else ""
    rate = f"{node.amount:,.1f}/s" if node.amount else ""
    label = [el("tspan", node.label + state)]
    if rate:
        label.append(el("tspan", rate, class_="rate", dx="8"))
    return el(
        "g",
        el("title", f"{node.title}{state}"),
        el("rect", x=x, y=f"{node.top:.1f}", width=_BAR, height=f"{node.height:.1f}", rx=2),
        el(
            "text",
            *label,
            x=x - 8 if left else x + _BAR + 8,
            y=f"{middle:.1f}",
            text_anchor="end" if left else "start",
            dominant_baseline="central",
        ),
        class_=f"node {node.kind}",
    )


def spark(values: Iterable[tuple[float, float]], most: int, label: str) -> Html:
    """A small chart of rates, and of those that were bad."""
    points = list(values)
    top = max((rate for rate, _ in points), default=0.0) or 1.0
    most = min(most, max(len(points), _FEW))
    step = 100 / max(most - 1, 1)
    start = (most - len(points)) * step

    def line(which: int) -> str:
        return " ".join(
            f"{start + number * step:.1f},{30 - 28 * point[which] / top:.1f}"
            for number, point in enumerate(points)
        )

    rates = line(0)
    area = f"{start:.1f},31 {rates} 100,31" if points else ""
    return el(
        "svg",
        el("title", label),
        el("polygon", points=area, class_="area"),
        el("polyline", points=rates, class_="line"),
        el("polyline", points=line(1), class_="bad") if any(bad for _, bad in points) else None,
        viewBox="0 0 100 32",
        preserveAspectRatio="none",
        role="img",
        class_="spark",
    )
